/*
 * The schema of every service of ours, and of health and reflection, from the descriptor set that
 * is compiled in. For every process: each serves a part of it and calls others.
 */
#pragma once

#include "schema/schema.h"

GW_CHECK gw_status gw_schema_all(gw_schema **ret, gw_error *err);
