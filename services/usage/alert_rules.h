/*
 * Alert rules: what a rule must be, what it measures, and rules and alerts as documents.
 *
 *     alert_rules  _id name kind threshold windowSeconds apiKeyId model disabled createdAt
 *                  updatedAt version
 *     alerts       _id ruleId ruleName kind status value threshold apiKeyId model message
 *                  startedAt resolvedAt            at most one `firing` a rule (unique index)
 *
 * Thread: values; messages live in the arena.
 */
#pragma once

#include "usage_report.h"

#include "apirelay/usage/v1/alert_service.pb-c.h"

#define COLLECTION_ALERT_RULES "alert_rules"
#define COLLECTION_ALERTS      "alerts"

#define ALERT_WINDOW_DEFAULT_S 300
#define ALERT_WINDOW_MIN_S     60
#define ALERT_WINDOW_MAX_S     2678400 /* 31 days */

typedef Apirelay__Usage__V1__AlertRule alert_rule;
typedef Apirelay__Usage__V1__Alert alert;

/* `r` as it is asked for; paths are members of the rule ("threshold"). */
void alert_rule_check(const alert_rule *r, gw_violations *v);

/* The rule's measure over what was reported: totals, or the group of its model. */
double alert_rule_measure(const alert_rule *r, const usage_report *report);
/* "cost of the last 300 s is 12.5, at or above 10", with model and key. */
void alert_describe(const alert_rule *r, double value, gw_buf *out);

/* Of a checked rule; `window_seconds` 0 becomes the default. */
void alert_rule_append(const alert_rule *r, const gw_object_id *id, int64_t now_ms, bson_t *doc);
/* NULL when out of memory. */
alert_rule *alert_rule_of(gw_arena *a, const bson_t *doc);

void alert_append(const alert_rule *r, double value, int64_t now_ms, bson_t *doc);
alert *alert_of(gw_arena *a, const bson_t *doc);
