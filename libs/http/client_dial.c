#include "http/client_internal.h"

#include <stdlib.h>
#include <unistd.h>

static gw_status take_socket(gw_http_conn *conn, int fd, gw_error *err)
{
    gw_http_client *c = conn->client;
    int rc = uv_tcp_init(gw_loop_uv(c->loop), &conn->tcp);
    if (rc == 0) {
        conn->has_tcp = true;
        conn->tcp.data = conn;
        rc = uv_tcp_open(&conn->tcp, fd);
    }
    if (rc != 0) {
        close(fd);
        return gw_fail(err, GW_ERR_IO, "cannot use its socket: %s", uv_strerror(rc));
    }
    uv_tcp_nodelay(&conn->tcp, 1);
    if (!conn->origin->is_tls)
        return GW_OK;
    return gw_tls_connect(c->tls, conn->origin->host, &conn->origin->session, &conn->tls, err);
}

static void on_dialed(void *arg, gw_status rc, int fd, const gw_error *dial_err)
{
    gw_http_conn *conn = arg;
    conn->dial = NULL;
    if (rc != GW_OK) {
        gw_http_call *call = conn->call;
        conn->call = NULL;
        gw_http_conn_close(conn);
        gw_http_call_end_later(call, rc, dial_err);
        return;
    }
    gw_error err = {0};
    if (take_socket(conn, fd, &err) != GW_OK) {
        gw_http_conn_end(conn, &err);
        return;
    }
    gw_http_conn_read_on(conn);
    if (conn->tls) {
        conn->state = GW_HTTP_CONN_HANDSHAKING;
        gw_http_conn_handshake(conn);
    } else {
        gw_http_conn_start(conn, conn->call);
    }
}

gw_status gw_http_conn_open(gw_http_origin *o, gw_http_call *call, gw_error *err)
{
    gw_http_client *c = o->client;
    gw_http_conn *conn = calloc(1, sizeof(*conn));
    if (!conn)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a connection");
    conn->carrier.ops = &gw_http_conn_ops;
    conn->client = c;
    conn->origin = o;
    conn->call = call;
    conn->state = GW_HTTP_CONN_DIALING;
    gw_list_init(&conn->origin_node);
    gw_list_init(&conn->idle_node);
    gw_status rc = gw_connector_dial(c->connector, o->host, o->port, call->timeouts.connect_ms,
                                     on_dialed, conn, &conn->dial, err);
    if (rc != GW_OK) {
        free(conn);
        return rc;
    }
    c->connections++;
    o->connections++;
    call->carrier = &conn->carrier;
    gw_http_call_enter(call, GW_HTTP_CONNECTING);
    return GW_OK;
}
