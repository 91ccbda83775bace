#include "load_request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct load_requests {
    gw_buf before_key, after_key;
    gw_buf keys_text;
    gw_str *keys;
    double *up_to; /* the share of requests that keys 0…i get together */
    size_t key_count;
    uint64_t random;
};

/* xorshift64*: quick, and good enough to choose keys and gaps. */
double load_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 0x2545f4914f6cdd1dULL) >> 11) * 0x1p-53;
}

#define SYSTEM "You are a helpful assistant of the platform team."

static void append_body(gw_buf *b, const load_options *o)
{
    static const char filler[] = "Explain in two sentences how a gateway differs from a plain "
                                 "reverse proxy, and name one thing that it must "
                                 "never do with the caller's key. ";
    gw_buf_appendf(b, "{\"model\":\"%s\",", o->model);
    gw_buf_append_c(b, o->messages ? "\"system\":\"" SYSTEM "\",\"messages\":["
                                   : "\"messages\":[{\"role\":\"system\",\"content\":\"" SYSTEM
                                     "\"},");
    gw_buf_append_c(b, "{\"role\":\"user\",\"content\":\"");
    const char *end = "\"}],\"temperature\":0.7,\"max_tokens\":256}";
    if (o->streams)
        end = o->messages ? "\"}],\"temperature\":0.7,\"max_tokens\":256,\"stream\":true}"
                          : "\"}],\"temperature\":0.7,\"max_tokens\":256,\"stream\":true,"
                            "\"stream_options\":{\"include_usage\":true}}";
    size_t text_until = o->body_bytes - GW_MIN(o->body_bytes, strlen(end));
    while (!gw_buf_failed(b) && b->len < text_until)
        gw_buf_append(b, filler, GW_MIN(sizeof(filler) - 1, text_until - b->len));
    gw_buf_append_c(b, end);
}

static gw_status build_text(load_requests *r, const load_options *o, gw_error *err)
{
    gw_auto_buf body = {0};
    append_body(&body, o);
    gw_buf_appendf(&r->before_key,
                   "POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
                   "User-Agent: bench-load\r\nAuthorization: Bearer ",
                   o->messages ? "/v1/messages" : "/v1/chat/completions");
    gw_buf_appendf(&r->after_key,
                   "\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
                   o->closes ? "Connection: close\r\n" : "", body.len);
    gw_buf_append_str(&r->after_key, gw_buf_str(&body));
    if (gw_buf_failed(&body) || gw_buf_failed(&r->before_key) || gw_buf_failed(&r->after_key))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the request");
    return GW_OK;
}

static gw_status read_file(const char *path, gw_buf *out, gw_error *err)
{
    char part[65536];
    size_t len;
    FILE *f = fopen(path, "re");
    if (!f)
        return gw_fail(err, GW_ERR_IO, "open %s: %s", path, strerror(errno));
    while ((len = fread(part, 1, sizeof(part), f)) > 0)
        gw_buf_append(out, part, len);
    (void)fclose(f);
    return gw_buf_failed(out) ? gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the keys") : GW_OK;
}

static bool add_key(load_requests *r, gw_str key, size_t *cap)
{
    if (r->key_count == *cap) {
        size_t more = *cap ? *cap * 2 : 16;
        gw_str *keys = realloc(r->keys, more * sizeof(*keys));
        if (!keys)
            return false;
        r->keys = keys;
        *cap = more;
    }
    r->keys[r->key_count++] = key;
    return true;
}

/* Zipf: the i-th key gets a share of 1/i. */
static bool share_out(load_requests *r)
{
    double sum = 0;
    r->up_to = calloc(r->key_count, sizeof(*r->up_to));
    if (!r->up_to)
        return false;
    for (size_t i = 0; i < r->key_count; i++) {
        sum += 1.0 / (double)(i + 1);
        r->up_to[i] = sum;
    }
    for (size_t i = 0; i < r->key_count; i++)
        r->up_to[i] /= sum;
    return true;
}

static gw_status read_keys(load_requests *r, const load_options *o, gw_error *err)
{
    gw_status rc = GW_OK;
    if (o->keys_file)
        rc = read_file(o->keys_file, &r->keys_text, err);
    else
        gw_buf_append_c(&r->keys_text, o->key);
    if (rc != GW_OK)
        return rc;
    gw_str rest = gw_buf_str(&r->keys_text);
    gw_str line;
    size_t cap = 0;
    while (gw_str_split(&rest, '\n', &line)) {
        line = gw_str_trim(line);
        if (line.len > 0 && !add_key(r, line, &cap))
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the keys");
    }
    if (r->key_count == 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "there is no key");
    return share_out(r) ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the keys");
}

gw_status load_requests_new(const load_options *o, load_requests **ret, gw_error *err)
{
    gw_auto(load_requests) r = calloc(1, sizeof(*r));
    if (!r)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the requests");
    r->random = LOAD_RANDOM_SEED;
    gw_status rc = build_text(r, o, err);
    if (rc == GW_OK)
        rc = read_keys(r, o, err);
    if (rc == GW_OK)
        *ret = gw_steal(&r);
    return rc;
}

void load_requests_free(load_requests *r)
{
    if (!r)
        return;
    gw_buf_fini(&r->before_key);
    gw_buf_fini(&r->after_key);
    gw_buf_fini(&r->keys_text);
    free(r->keys);
    free(r->up_to);
    free(r);
}

static gw_str choose_key(load_requests *r)
{
    if (r->key_count == 1)
        return r->keys[0];
    double at = load_random(&r->random);
    size_t low = 0, high = r->key_count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->up_to[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return r->keys[low];
}

void load_requests_next(load_requests *r, gw_str parts[LOAD_REQUEST_PARTS])
{
    parts[0] = gw_buf_str(&r->before_key);
    parts[1] = choose_key(r);
    parts[2] = gw_buf_str(&r->after_key);
}
