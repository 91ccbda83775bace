/*
 * The relay's settings files: providers and routes (RELAY_CONFIG_FILE), prices (RELAY_PRICE_BOOK_FILE).
 *
 * YAML with the members of the messages RelayConfigFile and PriceBook (proto/apirelay/relay/v1) in lowerCamelCase, read by the
 * same rules as the API's JSON. deploy/config/ has both, commented.
 *
 * Thread: start only; blocking reads.
 */
#pragma once

#include "provider_rules.h"

#include "apirelay/relay/v1/config_file.pb-c.h"

typedef Apirelay__Relay__V1__RelayConfigFile relay_config_file;

/*
 * Reads and checks the whole file; *ret is freed with protobuf_c_message_free_unpacked(). GW_ERR_IO when it cannot be read,
 * GW_ERR_INVALID_ARGUMENT with the first mistake in `err`, which names the file, and the further ones in `v` (paths as
 * "providers[0].baseUrl").
 */
GW_CHECK gw_status config_file_read(const char *path, relay_config_file **ret,
                                    gw_json_violations *v, gw_error *err);
GW_CHECK gw_status price_book_file_read(const char *path, price_book_message **ret,
                                        gw_json_violations *v, gw_error *err);
