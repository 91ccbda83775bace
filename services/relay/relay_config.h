/*
 * Relay configuration: providers, model routes and prices as one immutable snapshot.
 *
 * Built from a YAML file and from MongoDB (what was configured over gRPC; wins over the file by
 * name). A loop holds the current snapshot; a request holds the one it started with. Swapped whole,
 * never edited.
 *
 * Thread: immutable; reference counts are atomic.
 */
#pragma once

#include "core/url.h"
#include "credential_loads.h"
#include "http/client.h"
#include "price/price_book.h"
#include "provider_kind.h"

typedef struct provider_config {
    gw_str name;
    provider_kind kind;
    gw_url base_url; /* "https://api.openai.com/v1"; what its kind adds is in base_path */
    gw_str base_path; /* path of requests up to the endpoint, without trailing slash: "/v1",
                          "/api/agents/v1" */
    gw_str credential; /* resolved secret, never logged; "" when the provider needs none */
    const gw_str *more_credentials; /* the same, of a provider that has several */
    unsigned more_credential_count; /* less than CREDENTIALS_MAX */
    const char *unusable; /* why it cannot be used (credential missing …), NULL when fine */
    gw_http_transport transport;
    bool exposes_server_tools; /* of a LibreChat: its tool calls are shown to callers */
    bool checks_balance; /* of a LibreChat: of users who are asked for as such (balance_book.h) */
    bool requires_user_key; /* of a LibreChat: its `credential` is for no request (user_key.h) */
    /* of a LibreChat: its origin, which users are signed in to (user_token_book.h); "": they are not */
    gw_str sign_in_audience;
    size_t connections_max; /* kept without a request; 0: as by default */
    int64_t connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, total_timeout_ms;
} provider_config;

#define ROUTE_TARGETS_MAX 32

/* One place that a route can send to. */
typedef struct route_target {
    const provider_config *provider;
    gw_str upstream_model; /* "" = the name asked for */
    int64_t connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms,
        total_timeout_ms; /* its own, else the provider's */
    uint16_t weight; /* share within its tier, at least 1 */
    uint8_t tier; /* lower ones are asked first */
    uint8_t max_retries; /* attempts beyond the first */
    const model_price *price; /* of a route of one exact name: NULL = unpriced. Of others: NULL */
} route_target;

typedef struct model_route {
    gw_str pattern; /* exact or glob: "gpt-*" */
    bool is_exact; /* it is a name, and its targets have their prices */
    const route_target *targets; /* at least one; by tier, within one as they were named */
    size_t target_count; /* at most ROUTE_TARGETS_MAX */
    int64_t default_max_output_tokens; /* 4096 when not set */
    int64_t max_output_tokens; /* of the model; 0 = unknown */
    const gw_str *listed_models; /* shown in /v1/models */
    size_t listed_count;
    gw_str owned_by;
    bool drops_params; /* what the provider cannot honour is left out and listed, not refused */
} model_route;

static inline unsigned provider_credential_count(const provider_config *p)
{
    return 1 + p->more_credential_count;
}

static inline gw_str provider_credential(const provider_config *p, unsigned i)
{
    return i == 0 ? p->credential : p->more_credentials[i - 1];
}

typedef struct relay_config relay_config;

struct relay_config {
    gw_str version; /* price book version and a digest of the rest */
    const provider_config *providers;
    size_t provider_count;
    const model_route *routes; /* in order of precedence: gw_glob_rank(), highest first */
    size_t route_count;
    const model_price *prices;
    size_t price_count;
    gw_str price_book_version;
};

relay_config *relay_config_ref(const relay_config *c);
void relay_config_unref(relay_config *c);

/* NULL when no route matches. */
const model_route *relay_config_route(const relay_config *c, gw_str model);
