#include "rpc/tls.h"

#include "core/str.h"

#include <pthread.h>
#include <stdlib.h>

/* The core's threads ask for the set, the loop changes it. */
struct rpc_server_tls {
    gw_tls_files *files;
    gw_tls_subscription subscription;
    pthread_mutex_t mutex;
    char *cert, *key, *ca; /* the newest; all NULL once the core has taken them */
};

typedef struct pem_texts {
    char *cert, *key, *ca;
} pem_texts;

static void drop_texts(pem_texts *t)
{
    if (t->key)
        explicit_bzero(t->key, strlen(t->key));
    free(t->cert);
    free(t->key);
    free(t->ca);
    *t = (pem_texts){0};
}

/* False when out of memory. */
static bool copy_texts(const gw_tls_files *files, pem_texts *ret)
{
    const gw_tls_pem *pem = gw_tls_files_pem(files);
    *ret = (pem_texts){gw_str_dup(pem->cert), gw_str_dup(pem->key), gw_str_dup(pem->ca)};
    if (ret->cert && ret->key && ret->ca)
        return true;
    drop_texts(ret);
    return false;
}

static const char *text_or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

/* ---- server ---- */

/* Gives `texts` to the next handshake; what was not taken yet is superseded. */
static void offer(rpc_server_tls *t, pem_texts texts)
{
    (void)pthread_mutex_lock(&t->mutex);
    pem_texts old = {t->cert, t->key, t->ca};
    t->cert = texts.cert;
    t->key = texts.key;
    t->ca = texts.ca;
    (void)pthread_mutex_unlock(&t->mutex);
    drop_texts(&old);
}

static void on_changed(void *arg)
{
    rpc_server_tls *t = arg;
    pem_texts texts;
    if (copy_texts(t->files, &texts)) /* else the set before stays, and the next change comes */
        offer(t, texts);
}

gw_status rpc_server_tls_new(gw_tls_files *files, rpc_server_tls **ret, gw_error *err)
{
    pem_texts texts = {0};
    rpc_server_tls *t = calloc(1, sizeof *t);
    if (!t || !copy_texts(files, &texts)) {
        free(t);
        return gw_fail(err, GW_ERR_NO_MEMORY, "rpc: no memory for TLS");
    }
    t->files = files;
    (void)pthread_mutex_init(&t->mutex, NULL);
    offer(t, texts);
    gw_tls_files_subscribe(files, &t->subscription, on_changed, t);
    *ret = t;
    return GW_OK;
}

void rpc_server_tls_free(rpc_server_tls *t)
{
    if (!t)
        return;
    gw_tls_files_unsubscribe(&t->subscription);
    offer(t, (pem_texts){0});
    (void)pthread_mutex_destroy(&t->mutex);
    free(t);
}

/* Before each handshake, on a thread of the core's. */
static grpc_ssl_certificate_config_reload_status fetch(void *arg,
                                                       grpc_ssl_server_certificate_config **ret)
{
    rpc_server_tls *t = arg;
    (void)pthread_mutex_lock(&t->mutex);
    pem_texts texts = {t->cert, t->key, t->ca};
    t->cert = t->key = t->ca = NULL;
    (void)pthread_mutex_unlock(&t->mutex);
    if (!texts.cert)
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair = {.private_key = texts.key, .cert_chain = texts.cert};
    *ret = grpc_ssl_server_certificate_config_create(text_or_null(texts.ca), &pair, 1);
    drop_texts(&texts);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

grpc_server_credentials *rpc_server_credentials(rpc_server_tls *tls)
{
    if (!tls)
        return grpc_insecure_server_credentials_create();
    bool knows_authorities = gw_tls_files_pem(tls->files)->ca.len > 0;
    /* Takes the options, and their fetcher the first set at once. */
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            knows_authorities ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
                              : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            fetch, tls));
}

/* ---- client ---- */

grpc_channel_credentials *rpc_channel_credentials(const gw_tls_files *files)
{
    if (!files)
        return grpc_insecure_credentials_create();
    pem_texts texts;
    if (!copy_texts(files, &texts))
        return NULL;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = texts.key, .cert_chain = texts.cert};
    /* It verifies the chain and that the certificate is for the target's host. */
    grpc_channel_credentials *credentials = grpc_ssl_credentials_create_ex(
        text_or_null(texts.ca), texts.cert[0] ? &pair : NULL, NULL, NULL);
    drop_texts(&texts);
    return credentials;
}
