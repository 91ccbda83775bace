#include "metrics/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static size_t read_proc(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t len = fread(text, 1, size - 1, file);
    fclose(file);
    text[len] = '\0';
    return len;
}

static void append(gw_buf *out, const char *name, const char *type, const char *help, double value)
{
    gw_buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name,
                   value);
}

static void append_cpu(gw_buf *out)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    double seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    append(out, "process_cpu_seconds_total", "counter", "user and system CPU time", seconds);
}

static void append_memory(gw_buf *out)
{
    char text[256];
    int64_t pages;
    if (read_proc("/proc/self/statm", text, sizeof(text)) == 0)
        return;
    gw_str rest = gw_str_of(text);
    gw_str total;
    gw_str resident;
    if (gw_str_split(&rest, ' ', &total) && gw_str_split(&rest, ' ', &resident) &&
        gw_str_to_int64(resident, &pages))
        append(out, "process_resident_memory_bytes", "gauge", "memory held in RAM",
               (double)pages * (double)sysconf(_SC_PAGESIZE));
}

static void append_open_fds(gw_buf *out)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return;
    int64_t count = -1; /* the directory itself */
    const struct dirent *entry;
    while ((entry = readdir(dir)) !=
           NULL) /* NOLINT(concurrency-mt-unsafe): the stream is this function's own */
        count += entry->d_name[0] != '.';
    closedir(dir);
    append(out, "process_open_fds", "gauge", "open file descriptors", (double)count);
}

/* Field 22 of proc(5) stat, counted behind the command name, which may hold spaces and parentheses.
 */
static bool read_start_ticks(int64_t *ret)
{
    char text[1024];
    if (read_proc("/proc/self/stat", text, sizeof(text)) == 0)
        return false;
    const char *end = strrchr(text, ')');
    if (!end)
        return false;
    gw_str rest = gw_str_of(end + 1);
    gw_str part;
    for (int field = 2; field <= 22; field++) { /* the piece before the first blank is empty */
        if (!gw_str_split(&rest, ' ', &part))
            return false;
    }
    return gw_str_to_int64(part, ret);
}

static bool read_boot_time(int64_t *ret)
{
    FILE *file = fopen("/proc/stat", "re");
    if (!file)
        return false;
    char *line = NULL;
    size_t cap = 0;
    bool found = false;
    while (!found && getline(&line, &cap, file) >= 0)
        found = strncmp(line, "btime ", 6) == 0;
    if (found)
        *ret = strtoll(line + 6, NULL, 10);
    free(line);
    fclose(file);
    return found;
}

void gw_process_metrics_render(gw_buf *out)
{
    append_cpu(out);
    append_memory(out);
    append_open_fds(out);
    int64_t ticks;
    int64_t boot_s;
    if (read_start_ticks(&ticks) && read_boot_time(&boot_s))
        append(out, "process_start_time_seconds", "gauge",
               "start of the process since the Unix epoch",
               (double)boot_s + (double)ticks / (double)sysconf(_SC_CLK_TCK));
}
