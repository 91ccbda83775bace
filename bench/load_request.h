/*
 * The requests of a load run: one chat completion, the same bytes each time but for the key.
 *
 * Thread: one owner.
 */
#pragma once

#include "load_options.h"

typedef struct load_requests load_requests;

/* GW_ERR_IO when the file of keys cannot be read, GW_ERR_INVALID_ARGUMENT when it is empty. */
GW_CHECK gw_status load_requests_new(const load_options *o, load_requests **ret, gw_error *err);
void load_requests_free(load_requests *r);
GW_DEFINE_FREEP(load_requests)

/* The parts of the next request, in order; they live as long as `r`. */
#define LOAD_REQUEST_PARTS 3
void load_requests_next(load_requests *r, gw_str parts[LOAD_REQUEST_PARTS]);

/* A number in [0, 1), the same sequence in every run, so that all variants meet the same load. */
double load_random(uint64_t *state);
#define LOAD_RANDOM_SEED 0x9e3779b97f4a7c15ULL
