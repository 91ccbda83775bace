/*
 * gRPC's process-wide state. Pumps and servers hold it themselves; a program that makes and drops
 * many of them (a test) holds it around all, which spares the library its start each time.
 *
 * gRPC's own threads inherit the signal mask: they are started with all signals blocked, so that
 * signals go to the loop's thread. Thread: any, counted.
 */
#pragma once

void gw_rpc_init(void);
void gw_rpc_shutdown(void); /* the last one waits for gRPC's threads */
