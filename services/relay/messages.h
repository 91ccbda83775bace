/*
 * Anthropic's Messages API as a dialect of callers (POST /v1/messages, /v1/messages/count_tokens).
 *
 * Towards Anthropic's own API bytes pass but for the model's name and the ceiling; events pass as they come and
 * are only looked at. Towards every other kind of provider a front is put before its adapter: the request is
 * written anew as OpenAI's, that adapter does what it does for callers of OpenAI's dialect, and its chunks become
 * Anthropic's events:
 *
 *     caller ── Messages ──▶ front ── chat ──▶ adapter ──▶ provider
 *     caller ◀─── events ─── front ◀─ chunks ─ adapter ◀── provider
 *
 * Thread: the loop's.
 */
#pragma once

#include "adapter.h"

/* The adapter of `kind` for callers of these endpoints. */
const adapter_ops *messages_adapter_of(provider_kind kind);

/* messages_through.c */
extern const adapter_ops messages_through;
