/*
 * Streams over REST: an rpc that streams its answers is answered as text/event-stream (rest_event.h).
 *
 * - The head goes out with the first event, so a call that fails before it is answered as any other;
 *   a failure after it is an event named "error", then the end.
 * - While nothing is said for `stream_keep_alive_ms`, a comment is.
 * - A slow reader pauses the call: what waits is one event beyond the server's high-water mark and
 *   gRPC's window; the backend sees the rest.
 * - A caller that leaves cancels the call. A stream ends, as if it were over, after
 *   `stream_life_ms`: the caller comes again and its credential is checked again.
 *
 * Thread: the loop's.
 */
#pragma once

#include "rest_exchange.h"

/* The exchange has been read and has not been answered. */
void rest_stream_start(rest_exchange *e, const ProtobufCMessage *request);
/* The reader has caught up. */
void rest_stream_drained(rest_exchange *e);
/* We are going: tells the caller so. */
void rest_stream_cut(rest_exchange *e);
/* The HTTP exchange is over; before e->x is cleared. */
void rest_stream_closed(rest_exchange *e);
