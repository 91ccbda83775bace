/*
 * What tests of keys with sealed secrets share, on top of relay_request_test_kit.h: master keys, and the kit's policy to write to.
 */
#pragma once

#include "relay_request_test_kit.h"

#include "access/key_secret.h"

#include <unistd.h>

#define MASTER_KEYS       "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
#define OTHER_MASTER_KEYS "k2 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

static inline Apirelay__Auth__V1__KeyPolicy *policy_of(kit *k)
{
    return (Apirelay__Auth__V1__KeyPolicy *)(uintptr_t)k->policy->message;
}

static inline gw_master_keys *master_keys(const char *text)
{
    char path[] = "/tmp/relay_secrets_XXXXXX";
    gw_master_keys *keys = NULL;
    int fd = mkstemp(path);

    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(gw_master_keys_load(path, &keys, NULL), GW_OK);
    unlink(path);
    return keys;
}

/* malloc'd: the policy frees it. */
static inline ProtobufCBinaryData sealed(kit *k, const char *field, const char *secret)
{
    gw_buf box = {0};

    assert_int_equal(gw_key_secret_seal(k->core.master_keys, k->policy->api_key_id, field,
                                        gw_str_of(secret), &box, NULL),
                     GW_OK);
    return (ProtobufCBinaryData){.len = box.len, .data = (uint8_t *)box.data};
}
