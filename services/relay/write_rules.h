/*
 * Write rules: what is refused of providers and routes beyond provider_rules.h when they are written over the API. What stands in a
 * store or a settings file already is not held to them, so that no release takes away what works.
 *
 * Thread: pure.
 */
#pragma once

#include "provider_rules.h"

#include "core/violations.h"

/* A baseUrl of at most 2,000 bytes and not of an address that is never connected to; no credential twice. */
void provider_write_check(const provider_message *p, gw_violations *v);
/* Names that are labels (core/str.h); not two targets that ask a provider for the same model, one of them by the route's own name. */
void route_write_check(const route_message *r, gw_violations *v);
