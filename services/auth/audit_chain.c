#include "audit_log.h"
#include "crypto/crypto.h"
#include "messages.h"

static void add(gw_buf *b, const char *text)
{
    gw_buf_appendf(b, "%zu:%s,", strlen(text), text);
}

static void add_number(gw_buf *b, int64_t n)
{
    gw_auto_buf text = {0};
    gw_buf_appendf(&text, "%lld", (long long)n);
    add(b, text.data ? text.data : "");
}

static char *hex_hash(gw_arena *a, gw_str s)
{
    uint8_t hash[GW_SHA256_SIZE];
    char hex[AUDIT_HASH_SIZE];
    gw_sha256(s.ptr, s.len, hash);
    gw_hex_encode(hash, sizeof(hash), hex);
    return message_text(a, gw_str_of(hex));
}

static char *entry_hash(gw_arena *a, const audit_entry *e)
{
    gw_auto_buf b = {0};
    add_number(&b, e->seq);
    add_number(&b, message_time_ms(e->at));
    const char *const fields[] = {e->actor_kind, e->actor_id,     e->actor_name, e->address,
                                  e->action,     e->target,       e->phase,      e->outcome,
                                  e->request_id, e->payload_hash, e->prev_hash};
    for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++)
        add(&b, fields[i]);
    return hex_hash(a, gw_buf_str(&b));
}

void audit_entry_seal(gw_arena *a, audit_entry *e)
{
    if (*e->payload_json)
        e->payload_hash = hex_hash(a, gw_str_of(e->payload_json));
    e->hash = entry_hash(a, e);
}

const char *audit_entry_fault(gw_arena *a, const audit_entry *e, int64_t seq, const char *prev_hash)
{
    if (e->seq != seq)
        return "stands in the place of another";
    if (strcmp(e->prev_hash, prev_hash) != 0)
        return "does not follow the entry before";
    if (strcmp(e->hash, entry_hash(a, e)) != 0)
        return "was altered";
    if (*e->payload_json && strcmp(e->payload_hash, hex_hash(a, gw_str_of(e->payload_json))) != 0)
        return "has another payload than its hash";
    return NULL;
}
