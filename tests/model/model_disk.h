/* Disks of relays, as they are copied, rolled back and lost. Thread: one. */
#pragma once

#include "model.h"

#include "flight_table.h"

#define SLOTS          6
#define IMAGE_DIR_SIZE 128

/* What is on a disk: the flight table and the spool. */
typedef struct image {
    uint8_t *flight, *data;
    size_t flight_len, data_len;
} image;

image image_read(const char *dir); /* image_fini() it */
void image_write(const image *i, char ret_dir[IMAGE_DIR_SIZE]); /* into a new directory */
image image_copy(const image *i);
void image_fini(image *i);
uint8_t *image_copy_bytes(const uint8_t *bytes, size_t len);
void image_remove_dir(const char *path);

flight_slot *image_slot(const image *i, unsigned index); /* NULL: there is none */
request *image_request(world *w, const flight_slot *s); /* NULL: the slot is free */
bool image_is_at_rest(const image *i); /* nothing is in flight */

/* ---- what may be missing when this disk is gone ---- */
void image_excuse_slots(world *w, const image *i, bool lost); /* `lost`: not only cut */
void image_excuse_unacked(world *w, const image *i, int64_t acked);
/* The events of spools that were put aside: they are kept for people, and not sent. Removes them. */
void image_excuse_put_aside(world *w, const char *relay_dir);
