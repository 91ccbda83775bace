/*
 * Secrets at rest under a new master key: each that another one seals is opened and sealed again. Nobody is given a new secret.
 *
 * `auth rotate-secrets` is the process around it. It may be run again, at any time, beside auth at work.
 *
 * Thread: on a worker; the command: the process' own.
 */
#pragma once

#include "auth_conf.h"
#include "crypto/crypto.h"
#include "key_store.h"
#include "log/log.h"

typedef struct secret_rotation {
    int64_t keys; /* with a signing secret or a LibreChat key */
    int64_t rotated; /* of them: sealed anew */
    int64_t failed; /* of them: stay as they are */
} secret_rotation;

/*
 * Goes on past keys that cannot be opened and then says the first error, which names key and master key. GW_ERR_FAILED_PRECONDITION: a
 * master key is not there.
 */
GW_CHECK gw_status secret_rotation_run(const gw_db *d, const gw_master_keys *k, int64_t now_ms,
                                       secret_rotation *ret, gw_error *err);

/* Returns the exit status. */
int secret_rotation_command(const auth_conf *conf, gw_log *log);
