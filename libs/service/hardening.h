/*
 * Hardening: what a process gives away before it serves anybody.
 *
 * Thread: main's; gw_process_harden() before any other thread is made, as what it forbids is inherited by threads made later.
 */
#pragma once

#include "core/status.h"
#include "core/user.h"

#include <stdint.h>

/*
 * Files are made for their owner alone (umask 077), nothing that is executed gains privileges, and unless `core_dumps`
 * there are no core dumps and no other process of the same user may look into this one. Again after the user changed. GW_ERR_IO.
 */
GW_CHECK gw_status gw_process_harden(bool core_dumps, gw_error *err);

/*
 * Raises the limit of open descriptors as far as it goes, and has the kernel make room for `needed` now. GW_ERR_INVALID_ARGUMENT when
 * the limit is below `needed`; GW_ERR_IO.
 */
GW_CHECK gw_status gw_process_allow_descriptors(uint64_t needed, gw_error *err);

/*
 * From root to a user, in two steps.
 *
 * lower: files are opened and made as `user`, its groups included; all that is kept of root is to bind ports below 1024.
 * drop: nothing is kept, in no thread, and there is no way back.
 *
 * Not started as root: GW_OK when it is that user already, else GW_ERR_PERMISSION_DENIED. GW_ERR_IO when the system refuses.
 */
GW_CHECK gw_status gw_privileges_lower(const gw_user *user, gw_error *err);
GW_CHECK gw_status gw_privileges_drop(gw_error *err);
