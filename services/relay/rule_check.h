/*
 * One check of provider_rules.h in progress: where it stands and what it found.
 *
 * Thread: pure.
 */
#pragma once

#include "provider_rules.h"

#define NAME_MAX_LEN  63
#define MODEL_MAX_LEN 256

typedef struct rule_check {
    const char *path;
    gw_json_violations *v;
    gw_error *err;
    bool is_stored; /* what was taken before there was a rule stays good */
    gw_status rc;
} rule_check;

/* The first one is the check's error, further ones go to `v` as far as there is room. */
void rule_violation(rule_check *c, const char *field, const char *format, ...) GW_PRINTF(3, 4);

bool rule_is_printable(gw_str s, size_t max);
/* [a-z0-9][a-z0-9-]* within `max` bytes. */
bool rule_is_name(gw_str s, size_t max);

void rule_check_note(rule_check *c, const char *note);
void rule_check_tokens(rule_check *c, const char *field, int64_t tokens);
