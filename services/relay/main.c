/* relay: the OpenAI-compatible API, forwarded to providers and accounted for. */
#include "relay_app.h"
#include "relay_conf.h"
#include "spool_tool.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    relay_conf conf;
    int exit_status;

    /* A tool for a disk at hand: it needs none of the settings. */
    if (argc > 1 && strcmp(argv[1], "spool") == 0)
        return spool_tool_run(argc - 2, argv + 2, stdout, stderr);
    if (!gw_conf_start(&relay_conf_table, argc, argv, &conf, &exit_status))
        return exit_status;
    if (conf.base.n_args > 0) {
        (void)fprintf(stderr, "relay: unknown command '%s' (--help)\n", conf.base.args[0]);
        exit_status = 2;
    } else {
        exit_status = relay_app_run(&conf);
    }
    gw_conf_free(&relay_conf_table, &conf);
    return exit_status;
}
