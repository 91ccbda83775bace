#include "load_process.h"

#include <inttypes.h>
#include <stdio.h>
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

load_process load_process_read(int pid)
{
    char text[1024];
    int64_t user = 0, system = 0, pages = 0;
    load_process p = {0};
    if (pid <= 0 || read_proc(pid, "stat", text, sizeof(text)) == 0)
        return p;
    const char *fields = strrchr(text, ')'); /* a name may hold anything else */
    if (fields &&
        sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNd64 " %" SCNd64, &user,
               &system) == 2)
        p.cpu_us = (user + system) * 1000000 / sysconf(_SC_CLK_TCK);
    if (read_proc(pid, "statm", text, sizeof(text)) > 0 &&
        sscanf(text, "%*d %" SCNd64, &pages) == 1)
        p.rss_bytes = pages * sysconf(_SC_PAGESIZE);
    return p;
}
