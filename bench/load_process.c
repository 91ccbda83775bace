#include "load_process.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The text of /proc/<pid>/<name>, cut to `size`. */
static size_t read_proc(int pid, const char *name, char *text, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    size_t len = fread(text, 1, size - 1, f);
    (void)fclose(f);
    text[len] = '\0';
    return len;
}

/* The number that stands behind `skip` fields, which spaces part. */
static bool field_of(const char *text, int skip, int64_t *ret)
{
    char *end = NULL;
    for (; skip > 0 && text; skip--)
        if ((text = strchr(text, ' ')))
            text++;
    if (!text)
        return false;
    *ret = strtoll(text, &end, 10);
    return end != text;
}

static load_process read_one(int pid)
{
    char text[1024];
    int64_t user = 0, system = 0, pages = 0;
    load_process p = {0};
    if (read_proc(pid, "stat", text, sizeof(text)) == 0)
        return p;
    const char *fields = strrchr(text, ')'); /* a name may hold anything else */
    if (fields && field_of(fields, 12, &user) && field_of(fields, 13, &system))
        p.cpu_us = (user + system) * 1000000 / sysconf(_SC_CLK_TCK);
    if (read_proc(pid, "statm", text, sizeof(text)) > 0 && field_of(text, 1, &pages))
        p.rss_bytes = pages * sysconf(_SC_PAGESIZE);
    return p;
}

load_process load_process_read(const int *pids, size_t count)
{
    load_process all = {0};
    for (size_t i = 0; i < count; i++) {
        load_process one = read_one(pids[i]);
        all.cpu_us += one.cpu_us;
        all.rss_bytes += one.rss_bytes;
    }
    return all;
}
