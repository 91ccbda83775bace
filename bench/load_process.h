/* What /proc says of the process under test. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct load_process {
    int64_t cpu_us; /* user and system, all threads, in steps of the kernel's clock tick (10 ms) */
    int64_t rss_bytes;
} load_process;

/* The sums over `count` of them; one that is gone has nothing. */
load_process load_process_read(const int *pids, size_t count);
