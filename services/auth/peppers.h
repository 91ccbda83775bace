/*
 * Peppers: the secrets that API keys are hashed under, and what is derived from them.
 *
 * File: one `<character> <base64 of 32 bytes>` a line, # comments; the character ([0-9A-Za-z]) is the
 * first of the ids of keys made under it. The first line is the current one.
 *
 * Thread: immutable once loaded, shared freely.
 */
#pragma once

#include "access/key_format.h"
#include "core/status.h"
#include "crypto/crypto.h"
#include "crypto/cursor.h"

#define PEPPER_SIZE 32
#define PEPPERS_MAX 62

typedef struct peppers peppers;

/* All bad lines are named by number, never by content. */
GW_CHECK gw_status peppers_load(const char *path, peppers **ret, gw_error *err);
GW_CHECK gw_status peppers_parse(gw_str text, peppers **ret, gw_error *err);
void peppers_free(peppers *p); /* wiped */
GW_DEFINE_FREEP(peppers)

char peppers_current(const peppers *p);
bool peppers_has(const peppers *p, char id);
/* One for each pepper. */
const gw_tag_key *peppers_tag_keys(const peppers *p, size_t *ret_count);

/* HMAC-SHA256(pepper, whole key). False when the pepper is not there: retired. */
GW_CHECK bool peppers_verifier(const peppers *p, char id, gw_str key, uint8_t out[GW_SHA256_SIZE]);

/*
 * Keys of our own purposes, the same on every replica: they come from the first line of the file. A
 * rotation ends cursors, which callers ask anew.
 */
const uint8_t *peppers_cursor_key(const peppers *p); /* GW_CURSOR_KEY_SIZE bytes */
/* 32 bytes, of the i-th line's pepper: the first signs, all of them are known. NULL past the last. */
const uint8_t *peppers_audit_head_key(const peppers *p, size_t i);
