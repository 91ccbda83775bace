/*
 * Provider kinds: the dialects that the relay speaks to providers, by the name that settings and the
 * admin API give them.
 *
 * Thread: constant.
 */
#pragma once

#include "core/str.h"

typedef enum provider_kind {
    PROVIDER_OPENAI,
    PROVIDER_LIBRECHAT,
    PROVIDER_LOCAL, /* OpenAI's dialect as vLLM, Ollama and llama.cpp speak it */
    PROVIDER_ANTHROPIC,
    PROVIDER_GOOGLE,
    PROVIDER_KIND_COUNT
} provider_kind;

typedef struct provider_kind_info {
    const char *name;
    const char *default_path; /* of a base URL that has none */
    const char *appended_path; /* to every base URL */
    int64_t connect_ms, first_byte_ms, idle_ms,
        total_ms; /* timeouts of a provider that names none */
} provider_kind_info;

const provider_kind_info *provider_kind_describe(provider_kind kind);
/* False when there is none of that name; *ret untouched then. */
bool provider_kind_find(gw_str name, provider_kind *ret);

/* For messages. */
#define PROVIDER_KIND_NAMES "\"openai\", \"local\", \"anthropic\", \"google\" or \"librechat\""
