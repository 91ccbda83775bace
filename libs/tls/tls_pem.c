#include "tls/tls_pem.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 1024 * 1024 }; /* the system's bundle of authorities has some 220 KB */

/* The mistakes found so far, as one text. */
typedef struct mistakes {
    gw_buf text;
    /* of the worst: a file that says nonsense needs its maker, one that cannot be read may come back */
    gw_status code;
} mistakes;

static void wrong(mistakes *m, gw_status code, const char *format, ...) GW_PRINTF(3, 4);
static void wrong(mistakes *m, gw_status code, const char *format, ...)
{
    gw_error one = {0};
    va_list args;
    va_start(args, format);
    gw_vfail(&one, code, format, args);
    va_end(args);
    if (m->text.len > 0)
        gw_buf_append_c(&m->text, "; ");
    gw_buf_append_c(&m->text, one.message);
    if (m->code != GW_ERR_INVALID_ARGUMENT)
        m->code = code;
}

static void wipe(gw_buf *b)
{
    if (b->data)
        OPENSSL_cleanse(b->data, b->cap);
    gw_buf_fini(b);
}

/* ---- bytes ---- */

/* What `fd` holds, in a buffer of its final size: growing would leave copies of a key in freed memory. */
static bool read_all(int fd, const struct stat *st, gw_buf *ret)
{
    if (!gw_buf_reserve(ret, (size_t)st->st_size + 1)) {
        errno = ENOMEM;
        return false;
    }
    size_t len = 0;
    while (len < (size_t)st->st_size) {
        ssize_t n = read(fd, ret->data + len, (size_t)st->st_size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0) /* it shrank meanwhile */
            break;
        len += (size_t)n;
    }
    ret->data[len] = '\0';
    ret->len = len;
    return true;
}

static void read_file(mistakes *m, const char *path, gw_buf *ret, mode_t *ret_mode)
{
    if (!path)
        return;
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold the loop */
    if (fd < 0 || fstat(fd, &st) != 0) {
        wrong(m, GW_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        wrong(m, GW_ERR_INVALID_ARGUMENT, "%s is no file", path);
    } else if (st.st_size == 0) {
        wrong(m, GW_ERR_INVALID_ARGUMENT, "%s is empty", path);
    } else if (st.st_size > FILE_MAX_BYTES) {
        wrong(m, GW_ERR_INVALID_ARGUMENT, "%s is larger than %d bytes", path, FILE_MAX_BYTES);
    } else if (!read_all(fd, &st, ret)) {
        wrong(m, errno == ENOMEM ? GW_ERR_NO_MEMORY : GW_ERR_IO, "cannot read %s: %s", path,
              strerror(errno));
        wipe(ret);
    }
    *ret_mode = st.st_mode;
    if (fd >= 0)
        (void)close(fd);
}

/* ---- meaning ---- */

static BIO *text_bio(const gw_buf *text)
{
    return BIO_new_mem_buf(text->data, (int)GW_MIN(text->len, (size_t)INT_MAX));
}

/* The first certificate of `text`, owned by the caller, after all of them were parsed. */
static X509 *parse_certificates(mistakes *m, const char *path, const gw_buf *text)
{
    if (text->len == 0)
        return NULL;
    BIO *in = text_bio(text);
    X509 *first = NULL;
    size_t count = 0;
    ERR_clear_error();
    for (X509 *cert; in && (cert = PEM_read_bio_X509(in, NULL, NULL, NULL)); count++) {
        if (!first)
            first = cert;
        else
            X509_free(cert);
    }
    BIO_free(in);
    bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (is_end && count > 0)
        return first;
    if (is_end)
        wrong(m, GW_ERR_INVALID_ARGUMENT, "%s holds no certificate in PEM", path);
    else
        wrong(m, GW_ERR_INVALID_ARGUMENT, "%s: certificate %zu cannot be read", path, count + 1);
    X509_free(first);
    return NULL;
}

/* Instead of the library's question at the terminal. */
static int refuse_passphrase(char *buffer, int size, int for_writing, void *asked)
{
    (void)buffer;
    (void)size;
    (void)for_writing;
    *(bool *)asked = true;
    return -1;
}

static EVP_PKEY *parse_key(mistakes *m, const char *path, const gw_buf *text)
{
    if (text->len == 0)
        return NULL;
    bool is_encrypted = false;
    BIO *in = text_bio(text);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, refuse_passphrase, &is_encrypted) : NULL;
    BIO_free(in);
    ERR_clear_error();
    if (!key)
        wrong(m, GW_ERR_INVALID_ARGUMENT,
              is_encrypted ? "the key in %s is encrypted; only keys without passphrase are read"
                           : "%s holds no private key in PEM",
              path);
    return key;
}

static int64_t time_ms(const ASN1_TIME *t)
{
    struct tm tm = {0};
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    return gw_date_to_ms((gw_date){.year = tm.tm_year + 1900,
                                   .month = tm.tm_mon + 1,
                                   .day = tm.tm_mday,
                                   .hour = tm.tm_hour,
                                   .minute = tm.tm_min,
                                   .second = tm.tm_sec});
}

/* An authority's certificate put here by mistake: peers refuse it, and its key does not belong on a server. */
static bool is_only_for_signing(X509 *cert)
{
    const uint32_t handshakes = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT;
    uint32_t usage = X509_get_key_usage(cert); /* UINT32_MAX without the extension */
    return X509_check_ca(cert) == 1 && (usage & handshakes) == 0;
}

static void check_identity(mistakes *m, const gw_tls_paths *paths, tls_pem_set *s)
{
    if ((paths->cert_file != NULL) != (paths->key_file != NULL))
        wrong(m, GW_ERR_INVALID_ARGUMENT, "%s needs a %s file beside it",
              paths->cert_file ? paths->cert_file : paths->key_file,
              paths->cert_file ? "key" : "certificate");
    X509 *cert = parse_certificates(m, paths->cert_file, &s->cert);
    EVP_PKEY *key = parse_key(m, paths->key_file, &s->key);
    if (cert && is_only_for_signing(cert))
        wrong(m, GW_ERR_INVALID_ARGUMENT,
              "the first certificate in %s is an authority's, which may only sign others",
              paths->cert_file);
    if (cert && key && X509_check_private_key(cert, key) != 1)
        wrong(m, GW_ERR_INVALID_ARGUMENT, "the key in %s does not fit the certificate in %s",
              paths->key_file, paths->cert_file);
    if (cert) {
        s->not_before_ms = time_ms(X509_get0_notBefore(cert));
        s->not_after_ms = time_ms(X509_get0_notAfter(cert));
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
}

gw_status tls_pem_read(const gw_tls_paths *paths, tls_pem_set *ret, gw_error *err)
{
    mistakes m = {0};
    tls_pem_set s = {0};
    mode_t mode = 0;
    read_file(&m, paths->cert_file, &s.cert, &mode);
    read_file(&m, paths->ca_file, &s.ca, &mode);
    read_file(&m, paths->key_file, &s.key, &mode);
    s.key_is_open = paths->key_file && (mode & S_IROTH) != 0;
    check_identity(&m, paths, &s);
    X509_free(parse_certificates(&m, paths->ca_file, &s.ca));
    gw_status rc = m.code;
    if (rc == GW_OK) {
        *ret = s;
        return GW_OK;
    }
    (void)gw_fail(err, rc, "TLS files: %s", m.text.data ? m.text.data : "out of memory");
    gw_buf_fini(&m.text);
    tls_pem_fini(&s);
    return rc;
}

void tls_pem_fini(tls_pem_set *s)
{
    gw_buf_fini(&s->cert);
    gw_buf_fini(&s->ca);
    wipe(&s->key);
    *s = (tls_pem_set){0};
}

bool tls_pem_equal(const tls_pem_set *a, const tls_pem_set *b)
{
    return gw_str_eq(gw_buf_str(&a->cert), gw_buf_str(&b->cert)) &&
           gw_str_eq(gw_buf_str(&a->key), gw_buf_str(&b->key)) &&
           gw_str_eq(gw_buf_str(&a->ca), gw_buf_str(&b->ca));
}
