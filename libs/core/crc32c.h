/*
 * CRC-32C (Castagnoli, RFC 3720 §B.4), by the processor where it can. Tells torn and mixed bytes apart; no protection
 * against someone who means it.
 *
 * Thread: pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t gw_crc32c(uint32_t crc, const void *bytes, size_t len); /* 0, or what came before */
