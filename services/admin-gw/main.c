/* admin-gw: the management API, REST in front of the gRPC services. Wiring only. */
#include "admin_gw_app.h"

int main(int argc, char **argv)
{
    admin_gw_conf conf;
    int exit_status;

    if (!gw_conf_start(&admin_gw_conf_table, argc, argv, &conf, &exit_status))
        return exit_status;
    exit_status = admin_gw_app_run(&conf);
    gw_conf_free(&admin_gw_conf_table, &conf);
    return exit_status;
}
