/*
 * The process: what admin-gw is made of, in the frame of service/service.h.
 */
#pragma once

/* What main() returns. */
int admin_gw_app_main(int argc, char **argv);
