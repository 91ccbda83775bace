/*
 * Relay app: the parts of the process, put together in order and taken apart in reverse, in the frame of
 * service/service.h. Its drain:
 *
 *     no new connections, grace for what is in flight ─▶ what is left ends with an error ─▶ servers closed ─▶ spool
 *     flushed and acked as far as usage allows
 */
#pragma once

/* What main() returns. */
int relay_app_main(int argc, char **argv);
