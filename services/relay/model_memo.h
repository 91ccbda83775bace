/*
 * Model memo: what the names that callers ask for were found to be in the configuration of this moment, the route and the price of its
 * target. To find that is a walk over patterns, and callers ask for the same few names again and again.
 *
 * It is of one configuration: another one, as relay_core_set_config() brings it, empties it, and who still works with an older
 * one passes by. What a key may do is no part of it.
 *
 * Thread: the loop's.
 */
#pragma once

#include "relay_config.h"

typedef struct model_memo model_memo;

model_memo *model_memo_new(void); /* NULL when out of memory */
void model_memo_free(model_memo *m);

/* From now on of `c`, which lives until another one is told of; NULL: of none. */
void model_memo_begin(model_memo *m, const relay_config *c);

/* As relay_config_route(). */
const model_route *model_memo_route(model_memo *m, const relay_config *c, gw_str model);
/* As price_find_of_target(). `t` is a target of the model's route. */
const model_price *model_memo_price(model_memo *m, const relay_config *c, const route_target *t,
                                    gw_str model);
