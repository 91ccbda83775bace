/* relay: the OpenAI-compatible API, forwarded to providers and accounted for. */
#include "relay_app.h"
#include "spool_tool.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Tools for a disk at hand: they need none of the settings. What calls usage does, and --help is of all of them. */
static bool is_tool(int argc, char *const *argv)
{
    static const char *const others[] = {"replay", "--help", "-h"};

    if (argc < 2 || strcmp(argv[1], "spool") != 0)
        return false;
    for (size_t i = 0; argc > 2 && i < sizeof(others) / sizeof(*others); i++)
        if (strcmp(argv[2], others[i]) == 0)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    if (is_tool(argc, argv))
        return spool_tool_run(argc - 2, argv + 2, stdout, stderr);
    return relay_app_main(argc, argv);
}
