#include "position_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC        "relaypo3"
#define MAGIC_STEM   7 /* the number behind it is that of the rows' layout */
#define HEADER_BYTES 4096
#define SPOOL_SIZE   32

typedef struct file_header {
    char magic[8];
    char spool[SPOOL_SIZE];
    atomic_int_least64_t uses; /* ids given */
} file_header;

/*
 * The file is a header, the ids of all rows and the rows. An id, 0 where the row is not in use, is written last and taken away
 * first. Ids stand together so that looking for those in use touches few pages: what was never used is in no memory.
 */
typedef atomic_int_least64_t file_id;

typedef struct file_row {
    atomic_int_least64_t load;
    char subject[LEDGER_SUBJECT_SIZE], holder[LEDGER_HOLDER_SIZE];
} file_row;

#define IDS_BYTES ((size_t)POSITION_ROWS * sizeof(file_id))
#define MAP_BYTES (HEADER_BYTES + IDS_BYTES + (size_t)POSITION_ROWS * sizeof(file_row))

struct position_table {
    file_header *header;
    file_id *ids;
    file_row *rows;
    uint32_t *free; /* a stack */
    uint32_t free_count;
};

static gw_status map_file(position_table *t, const char *dir, gw_error *err)
{
    char path[4096];

    (void)snprintf(path, sizeof(path), "%s/positions", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return gw_fail(err, GW_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    /* All of its disk space: a hole on a full disk would be a SIGBUS. */
    int code = posix_fallocate(fd, 0, (off_t)MAP_BYTES);
    void *map =
        code == 0 ? mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (code == 0 && map == MAP_FAILED)
        code = errno;
    (void)close(fd);
    if (code != 0)
        return gw_fail(err, GW_ERR_IO, "cannot map %s: %s", path, strerror(code));
    t->header = map;
    t->ids = (file_id *)(void *)((uint8_t *)map + HEADER_BYTES);
    t->rows = (file_row *)(void *)((uint8_t *)map + HEADER_BYTES + IDS_BYTES);
    return GW_OK;
}

static void begin_anew(position_table *t, const char *spool)
{
    /* Ids go on whatever the layout was: the spool's sums know those that were given. */
    bool is_table = memcmp(t->header->magic, MAGIC, MAGIC_STEM) == 0;
    bool is_ours = memcmp(t->header->magic, MAGIC, sizeof(t->header->magic)) == 0;
    int64_t uses = is_table ? atomic_load(&t->header->uses) : 0;

    if (is_ours && strcmp(t->header->spool, spool) == 0)
        return;
    for (uint32_t i = 0; i < POSITION_ROWS; i++)
        if (atomic_load(&t->ids[i]) != 0)
            atomic_store(&t->ids[i], 0);
    memset(t->header, 0, sizeof(*t->header));
    atomic_store(&t->header->uses, uses);
    (void)snprintf(t->header->spool, sizeof(t->header->spool), "%s", spool);
    memcpy(t->header->magic, MAGIC, sizeof(t->header->magic));
}

gw_status position_table_open(const char *dir, gw_str spool, position_table **ret, gw_error *err)
{
    gw_auto(position_table) t = calloc(1, sizeof(*t));
    char name[SPOOL_SIZE];

    if (t)
        t->free = calloc(POSITION_ROWS, sizeof(*t->free));
    if (!t || !t->free)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the table of positions");
    gw_status rc = map_file(t, dir, err);
    if (rc != GW_OK)
        return rc;
    (void)snprintf(name, sizeof(name), "%.*s", GW_STR_ARG(spool));
    begin_anew(t, name);
    for (uint32_t i = POSITION_ROWS; i-- > 0;)
        if (atomic_load(&t->ids[i]) == 0)
            t->free[t->free_count++] = i;
    *ret = gw_steal(&t);
    return GW_OK;
}

void position_table_free(position_table *t)
{
    if (!t)
        return;
    if (t->header)
        (void)munmap(t->header, MAP_BYTES);
    free(t->free);
    free(t);
}

static file_row *row_of(const position_table *t, int64_t id)
{
    int64_t at = id % POSITION_ROWS;
    bool in_use = id > 0 && atomic_load_explicit(&t->ids[at], memory_order_acquire) == id;

    return in_use ? &t->rows[at] : NULL;
}

int64_t position_table_open_row(position_table *t, const char *holder, const char *subject)
{
    if (t->free_count == 0)
        return 0;
    uint32_t index = t->free[--t->free_count];
    file_row *row = &t->rows[index];
    int64_t id = (atomic_fetch_add(&t->header->uses, 1) + 1) * POSITION_ROWS + index;
    atomic_store(&row->load, 0);
    (void)snprintf(row->subject, sizeof(row->subject), "%s", subject);
    (void)snprintf(row->holder, sizeof(row->holder), "%s", holder);
    atomic_store_explicit(&t->ids[index], id, memory_order_release);
    return id;
}

void position_table_set_load(position_table *t, int64_t id, int64_t load)
{
    file_row *row = row_of(t, id);

    if (row)
        atomic_store_explicit(&row->load, load, memory_order_release);
}

void position_table_close_row(position_table *t, int64_t id)
{
    uint32_t at = (uint32_t)(id % POSITION_ROWS);

    if (!row_of(t, id))
        return;
    atomic_store_explicit(&t->ids[at], 0, memory_order_release);
    t->free[t->free_count++] = at;
}

bool position_table_next(const position_table *t, uint32_t *at, ledger_row *ret)
{
    for (; *at < POSITION_ROWS; ++*at) {
        const file_row *row = &t->rows[*at];
        int64_t id = atomic_load_explicit(&t->ids[*at], memory_order_acquire);
        if (id <= 0 || id % POSITION_ROWS != *at)
            continue;
        ++*at;
        *ret = (ledger_row){.id = id, .load = atomic_load(&row->load)};
        memcpy(ret->subject, row->subject, sizeof(ret->subject));
        memcpy(ret->holder, row->holder, sizeof(ret->holder));
        ret->subject[sizeof(ret->subject) - 1] = ret->holder[sizeof(ret->holder) - 1] = '\0';
        return true;
    }
    return false;
}

int64_t position_table_load_of(const position_table *t, int64_t id)
{
    const file_row *row = row_of(t, id);

    return row ? atomic_load_explicit(&row->load, memory_order_acquire) : 0;
}
