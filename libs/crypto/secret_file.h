/*
 * Secret files: keys that an operator keeps in a file.
 */
#pragma once

#include "core/status.h"

#define SECRET_FILE_BYTES_MAX ((size_t)64 << 10)

/*
 * The whole file into a buffer of SECRET_FILE_BYTES_MAX, which the caller wipes; `what` it is, "key file", is for the error.
 * GW_ERR_NOT_FOUND, GW_ERR_IO; GW_ERR_INVALID_ARGUMENT: it does not fit.
 */
GW_CHECK gw_status secret_file_read(const char *path, const char *what, char *bytes,
                                    size_t *ret_len, gw_error *err);
