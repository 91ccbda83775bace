/*
 * Users of the system, by "user", "user:group", or numbers in place of the names.
 *
 * Thread: any; reads the user database.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

typedef struct gw_user {
    uid_t uid;
    gid_t gid; /* the one named, else the user's own */
    char name[64]; /* for initgroups(3); "" of a number that is nobody's */
} gw_user;

/* False when there is no such user or group. A bare number is taken for what it is; its group is then the user's own, or
 * the same number where the user database does not know it. */
bool gw_user_find(const char *text, gw_user *ret);
