/*
 * `relay spool inspect|export DIR`: looks into spools that were put aside, or into the one of a relay, running or not.
 *
 *     inspect   one JSON object a spool found in DIR: id, boot, positions, sizes, times; and the flight table's slots
 *     export    each event that is not claimed, one JSON object a line: {"spool", "seq", "event"}
 *
 * DIR is a relay's spool directory, or one spool in it (`spool.0a1b2c3d4e.conflict`). Nothing is changed. Of one that is
 * damaged what can be read is shown, also behind what cannot; the damage and the numbers that are missing are on stderr.
 */
#pragma once

#include <stdio.h>

/* Arguments after `spool`. Returns the exit status: 0, 1 when something cannot be read, 2 for wrong usage. */
int spool_tool_run(int argc, char *const *argv, FILE *out, FILE *errors);
