/*
 * The files a relay starts from: settings of providers and routes, price books, and the snapshot that it wrote itself. What is
 * read has passed its checks and is sound on the wire; a refusal says why.
 */
#include "config_file.h"
#include "config_snapshot.h"

#include "crypto/crypto.h"
#include "rpc/walk.h"
#include "testing/fuzz.h"

#include <unistd.h>

static void check_sound(const ProtobufCMessage *m)
{
    gw_auto_buf wire = {0};
    size_t size = protobuf_c_message_get_packed_size(m);

    fuzz_require(gw_buf_reserve(&wire, size + 1));
    wire.len = protobuf_c_message_pack(m, (uint8_t *)wire.data);
    fuzz_require(wire.len == size && gw_walk(m->descriptor, gw_buf_str(&wire), NULL) == GW_OK);
}

static void check_files(gw_str text)
{
    char path[FUZZ_PATH_SIZE];
    gw_json_violations v = {0};
    gw_error err = {0};
    relay_config_file *config = NULL;
    price_book_message *book = NULL;
    int fd = fuzz_file(text, path);

    if (config_file_read(path, &config, &v, &err) == GW_OK) {
        check_sound(&config->base);
        protobuf_c_message_free_unpacked(&config->base, NULL);
    } else {
        fuzz_require(config == NULL && gw_str_contains(gw_str_of(err.message), gw_str_of(path)));
    }
    fuzz_require(v.count <= GW_VIOLATIONS_MAX);
    v.count = 0;
    if (price_book_file_read(path, &book, &v, &err) == GW_OK) {
        check_sound(&book->base);
        protobuf_c_message_free_unpacked(&book->base, NULL);
    } else {
        fuzz_require(book == NULL && err.message[0]);
    }
    close(fd);
}

static const char *snapshot_folder(void)
{
    static char folder[] = "/dev/shm/config_fuzz_XXXXXX";
    static bool is_made;

    if (!is_made)
        fuzz_require(mkdtemp(folder) != NULL);
    is_made = true;
    return folder;
}

static void write_snapshot(gw_str digest, gw_str body)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/config.snapshot", snapshot_folder());
    FILE *f = fopen(path, "wb");
    fuzz_require(f && fwrite(digest.ptr, 1, digest.len, f) == digest.len);
    fuzz_require(body.len == 0 || fwrite(body.ptr, 1, body.len, f) == body.len);
    fuzz_require(fclose(f) == 0);
}

static void check_snapshot(gw_str digest, gw_str body)
{
    config_snapshot *s = NULL;
    gw_error err = {0};

    write_snapshot(digest, body);
    gw_status rc = config_snapshot_read(snapshot_folder(), &s, &err);
    if (rc == GW_OK) {
        check_sound(&s->base);
        protobuf_c_message_free_unpacked(&s->base, NULL);
    } else {
        fuzz_require(s == NULL && rc == GW_ERR_DATA_LOSS && err.message[0]);
    }
}

static void forget_snapshot(void)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/config.snapshot", snapshot_folder());
    (void)unlink(path);
    (void)rmdir(snapshot_folder());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool cleans_up;
    gw_str text = gw_str_n(data, size);
    uint8_t digest[GW_SHA256_SIZE];

    if (!cleans_up)
        cleans_up = atexit(forget_snapshot) == 0;
    check_files(text);
    check_snapshot(GW_STR(""), text);
    gw_sha256(data, size, digest); /* past the digest, so that the bytes behind it are looked at */
    check_snapshot(gw_str_n(digest, sizeof(digest)), text);
    return 0;
}
