/*
 * What the sources of the frame share. Include only there.
 */
#pragma once

#include "service/service.h"

/* The common settings, by value: texts stay the settings'. */
static inline gw_service_conf service_common(const gw_service *s)
{
    gw_service_conf common;
    memcpy(&common, s->conf, sizeof(common));
    return common;
}

void service_set_log_level(gw_service *s);

/* service_close.c: close() of the app, within close_max_ms. */
void service_close_app(gw_service *s);

/* service_trust.c */
GW_CHECK gw_status service_open_trust(gw_service *s, gw_error *err);
void service_reload_tokens(const gw_service *s);
void service_close_trust(gw_service *s);

/* service_reload.c */
GW_CHECK gw_status service_watch_files(gw_service *s, gw_error *err);
void service_reload(void *service);
/* Whether this user can read what the settings were read from: root could, and a reload would find out too late. */
GW_CHECK gw_status service_check_reload(const gw_service *s, gw_error *err);
