/* relay: the OpenAI-compatible API, forwarded to providers and accounted for. */
#include "relay_app.h"
#include "spool_tool.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    /* A tool for a disk at hand: it needs none of the settings. What calls usage does. */
    if (argc > 1 && strcmp(argv[1], "spool") == 0 && !(argc > 2 && strcmp(argv[2], "replay") == 0))
        return spool_tool_run(argc - 2, argv + 2, stdout, stderr);
    return relay_app_main(argc, argv);
}
