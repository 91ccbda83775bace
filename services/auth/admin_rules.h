/*
 * Rules of admins and admin keys.
 *
 * Thread: pure.
 */
#pragma once

#include "admin_store.h"
#include "core/violations.h"

#define PASSWORD_MIN_BYTES 12
#define PASSWORD_MAX_BYTES 1024

void admin_check_username(const char *username, gw_violations *v);
void admin_check_password(const char *password, gw_violations *v);
void admin_check_role(const char *role, gw_violations *v);
void admin_check_status(const char *status, gw_violations *v);
/* 1 viewer, 2 admin, 3 owner; 0 for anything else. */
int admin_role_rank(const char *role);
/* name, role and expires_at of a key to make; anything else set is a violation. */
void admin_check_key(const admin_key_view *k, int64_t now_ms, gw_violations *v);
