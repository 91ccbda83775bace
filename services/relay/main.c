/* relay: the OpenAI-compatible API, forwarded to providers and accounted for. Wiring only. */
#include "relay_app.h"
#include "relay_conf.h"

int main(int argc, char **argv)
{
    relay_conf conf;
    int exit_status;

    if (!gw_conf_start(&relay_conf_table, argc, argv, &conf, &exit_status))
        return exit_status;
    exit_status = relay_app_run(&conf);
    gw_conf_free(&relay_conf_table, &conf);
    return exit_status;
}
