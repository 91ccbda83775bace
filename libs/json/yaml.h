/*
 * YAML settings as JSON values, so that one reader (json.h) checks what people write in files and what they send.
 *
 * The subset that settings need: one document of mappings, sequences and scalars. Plain scalars become null, true, false or
 * numbers as the YAML 1.2 core schema says (https://yaml.org/spec/1.2.2/#103-core-schema), quoted ones stay strings. Anchors,
 * aliases, tags, keys that are no scalars and duplicate keys are refused.
 *
 * Thread: reentrant.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#include <yyjson.h>

#define GW_YAML_DEPTH_MAX 32

/* *ret is freed with yyjson_mut_doc_free(); an empty text gives an empty object. GW_ERR_INVALID_ARGUMENT names line and column. */
GW_CHECK gw_status gw_yaml_read(gw_str text, yyjson_mut_doc **ret, gw_error *err);
