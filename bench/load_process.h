/* What /proc says of the process under test. */
#pragma once

#include <stdint.h>

typedef struct load_process {
    int64_t cpu_us; /* user and system, all threads, in steps of the kernel's clock tick (10 ms) */
    int64_t rss_bytes;
} load_process;

load_process load_process_read(int pid); /* zeroes when `pid` is 0 or gone */
