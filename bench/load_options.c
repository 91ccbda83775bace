#include "load_options.h"

#include "script.h"

#include <getopt.h>
#include <limits.h>

const char load_options_usage[] =
    "usage: bench_load unary|sse|idle|bad --port N (--key KEY | --keys FILE) [options]\n"
    "  --model NAME --body BYTES --ca FILE --connections N --rate PER_S --ramp PER_S --close "
    "--streams --messages\n"
    "  --warmup S --seconds S --watch PID (twice for two)\n";

enum { CLOSES = 1, STREAMS, MESSAGES, WATCH, FIRST_NUMBER = 'A' };

static const struct option flags[] = {
    {"key", required_argument, NULL, 'k'},
    {"keys", required_argument, NULL, 'f'},
    {"model", required_argument, NULL, 'm'},
    {"ca", required_argument, NULL, 'c'},
    {"close", no_argument, NULL, CLOSES},
    {"streams", no_argument, NULL, STREAMS},
    {"messages", no_argument, NULL, MESSAGES},
    {"watch", required_argument, NULL, WATCH},
    /* numbers, in the order of `numbers` below */
    {"port", required_argument, NULL, FIRST_NUMBER},
    {"body", required_argument, NULL, FIRST_NUMBER + 1},
    {"connections", required_argument, NULL, FIRST_NUMBER + 2},
    {"rate", required_argument, NULL, FIRST_NUMBER + 3},
    {"ramp", required_argument, NULL, FIRST_NUMBER + 4},
    {"warmup", required_argument, NULL, FIRST_NUMBER + 5},
    {"seconds", required_argument, NULL, FIRST_NUMBER + 6},
    {NULL, 0, NULL, 0},
};

enum { PORT, BODY, CONNECTIONS, RATE, RAMP, WARMUP, SECONDS, NUMBERS };

static bool add_watched(load_options *o, gw_str text)
{
    int64_t pid;
    if (o->watched_count == LOAD_WATCHED_MAX || !gw_str_to_int64(text, &pid) || pid <= 0 ||
        pid > INT_MAX)
        return false;
    o->watched[o->watched_count++] = (int)pid;
    return true;
}

static gw_status read_flags(int argc, char **argv, load_options *o, double *numbers, gw_error *err)
{
    int flag;
    opterr = 0;
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        switch (flag) {
        case 'k':
            o->key = optarg;
            break;
        case 'f':
            o->keys_file = optarg;
            break;
        case 'm':
            o->model = optarg;
            break;
        case 'c':
            o->ca_file = optarg;
            break;
        case CLOSES:
            o->closes = true;
            break;
        case STREAMS:
            o->streams = true;
            break;
        case MESSAGES:
            o->messages = true;
            break;
        case WATCH:
            if (!add_watched(o, gw_str_of(optarg)))
                return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "--watch %s: two process ids at most",
                               optarg);
            break;
        case '?':
            return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "unknown or incomplete: %s",
                           argv[optind - 1]);
        default:
            if (!gw_str_to_double(gw_str_of(optarg), &numbers[flag - FIRST_NUMBER]) ||
                numbers[flag - FIRST_NUMBER] < 0)
                return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%s is no number >= 0", optarg);
        }
    }
    return GW_OK;
}

gw_status load_options_parse(int argc, char **argv, load_options *ret, gw_error *err)
{
    load_options o = {.model = SCRIPT_MODEL};
    double numbers[NUMBERS] = {[BODY] = 600, [CONNECTIONS] = 64, [RAMP] = 1000, [SECONDS] = 5};
    gw_status rc = read_flags(argc, argv, &o, numbers, err);
    if (rc != GW_OK)
        return rc;
    if (optind != argc - 1)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "one mode is wanted");
    if (numbers[PORT] < 1 || numbers[PORT] > UINT16_MAX)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "--port is wanted");
    if (!o.key && !o.keys_file)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "--key or --keys is wanted");
    if (numbers[CONNECTIONS] < 1 || numbers[SECONDS] <= 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "--connections and --seconds are above 0");
    o.mode = argv[optind];
    o.port = (uint16_t)numbers[PORT];
    o.body_bytes = (size_t)numbers[BODY];
    o.connections = (size_t)numbers[CONNECTIONS];
    o.rate = numbers[RATE];
    o.ramp = numbers[RAMP];
    o.warmup_s = numbers[WARMUP];
    o.seconds = numbers[SECONDS];
    *ret = o;
    return GW_OK;
}
