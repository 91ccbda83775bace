/* bench_load: the load generator of ./dev bench; load_options.h says what it can be told, load_run.h what it reports. */
#include "load_run.h"

#include <stdio.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
    load_options o;
    struct rlimit files;
    gw_error err;
    if (load_options_parse(argc, argv, &o, &err) != GW_OK) {
        (void)fprintf(stderr, "bench_load: %s\n%s", err.message, load_options_usage);
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (load_run_all(&o, &err) != GW_OK) {
        (void)fprintf(stderr, "bench_load: %s\n", err.message);
        return 1;
    }
    return 0;
}
