#include "spool_log_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static found_file *add_file(found_files *f, unsigned file)
{
    if (f->count == f->capacity) {
        size_t capacity = GW_MAX(f->capacity * 2, (size_t)16);
        found_file *grown = realloc(f->files, capacity * sizeof(*grown));
        if (!grown)
            return NULL;
        f->files = grown;
        f->capacity = capacity;
    }
    f->files[f->count] = (found_file){.file = file};
    return &f->files[f->count++];
}

/* "000012.log" → 12 */
static bool file_of(const char *name, unsigned *ret)
{
    gw_str text = gw_str_of(name);
    int64_t file;
    if (text.len < 5 || strcmp(name + text.len - 4, ".log") != 0 ||
        !gw_str_to_int64(gw_str_slice(text, 0, text.len - 4), &file) || file < 0 ||
        file >= INT32_MAX)
        return false;
    *ret = (unsigned)file;
    return true;
}

int found_file_open(const spool_log *l, const found_file *f, int flags)
{
    char path[SPOOL_PATH + 16];
    spool_log_path(l, f->file, path);
    return open(path, flags | O_CLOEXEC);
}

/* A head that cannot be read is none: what its segment had is missed then. */
static gw_status look_at(const spool_log *l, uint64_t log, found_file *f, gw_error *err)
{
    struct stat st;
    int fd = found_file_open(l, f, O_RDONLY);
    if (fd < 0)
        return errno == ENOENT ? GW_OK : spool_io_error(err, "open a segment of", l->folder);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        f->size = st.st_size;
        f->is_segment = spool_file_read(fd, &f->head, sizeof(f->head), 0) &&
                        spool_head_is_sound(&f->head) && (log == 0 || f->head.log == log);
    }
    (void)close(fd);
    return GW_OK;
}

static int by_number(const void *a, const void *b)
{
    const found_file *x = a, *y = b;
    if (x->is_segment != y->is_segment)
        return x->is_segment ? -1 : 1;
    return x->is_segment && x->head.number != y->head.number
               ? (x->head.number > y->head.number ? 1 : -1)
               : 0;
}

void found_files_sort(found_files *f)
{
    if (f->count > 0)
        qsort(f->files, f->count, sizeof(*f->files), by_number);
    for (f->segments = 0; f->segments < f->count && f->files[f->segments].is_segment;)
        f->segments++;
}

gw_status found_files_list(found_files *f, const spool_log *l, uint64_t log, gw_error *err)
{
    DIR *d = opendir(l->folder);
    if (!d)
        return gw_fail(err, errno == ENOENT ? GW_ERR_DATA_LOSS : GW_ERR_IO,
                       "spool: cannot read %s: %s", l->folder, strerror(errno));
    gw_status rc = GW_OK;
    for (struct dirent *e; rc == GW_OK && (e = readdir(d));) {
        unsigned file;
        if (!file_of(e->d_name, &file))
            continue;
        found_file *found = add_file(f, file);
        rc = found ? look_at(l, log, found, err)
                   : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the files of a spool");
    }
    (void)closedir(d);
    found_files_sort(f);
    return rc;
}

void found_files_fini(found_files *f)
{
    free(f->files);
    *f = (found_files){0};
}
