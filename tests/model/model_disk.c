/* Disks of relays: read, written, and what is lost with them. */
#include "model_disk.h"

#include "spool.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void image_fini(image *i)
{
    free(i->flight);
    free(i->data);
    *i = (image){0};
}

uint8_t *image_copy_bytes(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    if (!copy)
        abort();
    if (len)
        memcpy(copy, bytes, len);
    return copy;
}

image image_copy(const image *i)
{
    return (image){.flight = image_copy_bytes(i->flight, i->flight_len),
                   .data = image_copy_bytes(i->data, i->data_len),
                   .flight_len = i->flight_len,
                   .data_len = i->data_len};
}

static uint8_t *read_file(const char *dir, const char *name, size_t *ret_len)
{
    char path[256];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "rbe");
    if (!f || fstat(fileno(f), &st) != 0) {
        if (f)
            (void)fclose(f);
        *ret_len = 0;
        return NULL;
    }
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    if (!bytes)
        abort();
    *ret_len = fread(bytes, 1, (size_t)st.st_size, f);
    (void)fclose(f);
    return bytes;
}

static void write_file(const char *dir, const char *name, const uint8_t *bytes, size_t len)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "wbe");
    if (!f || fwrite(bytes, 1, len, f) != len || fclose(f) != 0) {
        (void)fprintf(stderr, "cannot write %s\n", path);
        abort();
    }
}

/* The spool's files in one: of each its name, its length and its bytes. */
typedef struct packed_file {
    char name[24];
    size_t len;
} packed_file;

static void pack_file(image *i, const char *folder, const char *name)
{
    packed_file f = {0};
    uint8_t *bytes = read_file(folder, name, &f.len);
    (void)snprintf(f.name, sizeof(f.name), "%.23s", name);
    i->data = realloc(i->data, i->data_len + sizeof(f) + f.len);
    if (!i->data)
        abort();
    memcpy(i->data + i->data_len, &f, sizeof(f));
    if (f.len)
        memcpy(i->data + i->data_len + sizeof(f), bytes, f.len);
    i->data_len += sizeof(f) + f.len;
    free(bytes);
}

static void unpack_files(const image *i, const char *folder)
{
    for (size_t at = 0; at < i->data_len;) {
        packed_file f;
        memcpy(&f, i->data + at, sizeof(f));
        write_file(folder, f.name, i->data + at + sizeof(f), f.len);
        at += sizeof(f) + f.len;
    }
}

image image_read(const char *dir)
{
    image i = {0};
    char folder[256];
    i.flight = read_file(dir, "flight", &i.flight_len);
    (void)snprintf(folder, sizeof(folder), "%s/spool", dir);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            pack_file(&i, folder, e->d_name);
    if (d)
        (void)closedir(d);
    return i;
}

void image_write(const image *i, char ret_dir[IMAGE_DIR_SIZE])
{
    char path[256];
    static unsigned made;
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(ret_dir, IMAGE_DIR_SIZE, "%s/accounting-model-%d-%u", base, (int)getpid(),
                   made++);
    (void)mkdir(ret_dir, 0700);
    if (!i->data)
        return;
    (void)snprintf(path, sizeof(path), "%s/spool", ret_dir);
    (void)mkdir(path, 0700);
    write_file(ret_dir, "flight", i->flight, i->flight_len);
    unpack_files(i, path);
}

void image_remove_dir(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        char inner[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(inner, sizeof(inner), "%s/%s", path, e->d_name);
        if (unlink(inner) != 0)
            image_remove_dir(inner);
    }
    (void)closedir(d);
    (void)rmdir(path);
}

/* ---- what a disk holds ---- */

static void excuse_events_of(world *w, const char *env_dir, int64_t above)
{
    spool *s = NULL;
    gw_error err;
    spool_frame *f = malloc(sizeof(*f));
    if (!f)
        abort();
    if (spool_open_readonly(env_dir, &s, &err) != GW_OK) {
        free(f);
        return;
    }
    int64_t seq = GW_MAX(spool_get_info(s)->acked, above) + 1;
    do {
        if (spool_read(s, seq, SPOOL_FRAME_BYTES, f, &err) != GW_OK)
            break;
        for (uint32_t i = 0; i < f->count; i++)
            if (f->events[i].len > 2 + EVENT_ID)
                world_excuse(w, f->events[i].data + 2);
        seq += f->count;
    } while (f->count);
    spool_free(s);
    free(f);
}

/* The events of a spool that was put aside are kept for people, and not sent. */
void image_excuse_put_aside(world *w, const char *relay_dir)
{
    DIR *d = opendir(relay_dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[512];
        if (strncmp(e->d_name, "spool.", 6) != 0 || strcmp(e->d_name, "spool.new") == 0)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", relay_dir, e->d_name);
        excuse_events_of(w, path, 0);
        image_remove_dir(path);
    }
    if (d)
        (void)closedir(d);
}

flight_slot *image_slot(const image *i, unsigned index)
{
    size_t at = FLIGHT_HEADER_BYTES + (size_t)index * FLIGHT_SLOT_BYTES;
    return at + FLIGHT_SLOT_BYTES <= i->flight_len ? (flight_slot *)(void *)(i->flight + at) : NULL;
}

request *image_request(world *w, const flight_slot *s)
{
    flight_state state = flight_slot_state(s);
    if (state == FLIGHT_FREE)
        return NULL;
    uint32_t at = state == FLIGHT_DONE && s->done_at <= FLIGHT_OPEN_MAX ? s->done_at : 0;
    return world_find_request(w, s->bytes + at + 2);
}

void image_excuse_slots(world *w, const image *i, bool lost)
{
    for (unsigned k = 0; k < SLOTS; k++) {
        flight_slot *s = image_slot(i, k);
        request *q = s ? image_request(w, s) : NULL;
        if (!q)
            continue;
        q->may_be_cut = true;
        q->may_be_lost |= lost;
    }
}

void image_excuse_unacked(world *w, const image *i, int64_t acked)
{
    char path[256];
    char dir[IMAGE_DIR_SIZE];
    image_write(i, dir);
    (void)snprintf(path, sizeof(path), "%s/spool", dir);
    excuse_events_of(w, path, acked);
    image_remove_dir(dir);
}

bool image_is_at_rest(const image *i)
{
    for (unsigned k = 0; k < SLOTS; k++) {
        const flight_slot *s = image_slot(i, k);
        if (s && flight_slot_state(s) != FLIGHT_FREE)
            return false;
    }
    return true;
}
