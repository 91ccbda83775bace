#include "ledger_usage.h"

#include "apirelay/usage/v1/ledger_service.pb-c.h"

#include <stdlib.h>
#include <string.h>

typedef Apirelay__Usage__V1__LoadLedgerRequest load_request;

typedef struct question_call {
    ledger_used_fn done;
    void *arg;
} question_call;

static void on_answer(void *arg, gw_status rc, const ProtobufCMessage *response,
                      const gw_error *err)
{
    question_call c = *(question_call *)arg;
    const Apirelay__Usage__V1__LoadLedgerResponse *m = (const void *)response;
    ledger_amounts used = {0};

    free(arg);
    if (rc == GW_OK)
        used = (ledger_amounts){.of = {[LEDGER_REQUESTS_DAY] = m->requests_today,
                                       [LEDGER_TOKENS_DAY] = m->tokens_today,
                                       [LEDGER_TOKENS_MONTH] = m->tokens_this_month,
                                       [LEDGER_COST_MONTH] = m->cost_nano_usd_this_month}};
    c.done(c.arg, rc, rc == GW_OK ? &used : NULL, err);
}

/* The fields of the union share their place. */
static void name_subject(load_request *m, const char *subject)
{
    m->api_key_id = (char *)(uintptr_t)subject + strlen("k:"); /* packing only reads */
    switch (subject[0]) {
    case 'k':
        m->subject_case = APIRELAY__USAGE__V1__LOAD_LEDGER_REQUEST__SUBJECT_API_KEY_ID;
        break;
    case 'c':
        m->subject_case = APIRELAY__USAGE__V1__LOAD_LEDGER_REQUEST__SUBJECT_CLIENT_ID;
        break;
    default:
        m->subject_case = APIRELAY__USAGE__V1__LOAD_LEDGER_REQUEST__SUBJECT_USER_ID;
    }
}

bool ledger_usage_ask(gw_rpc_channel *usage, gw_str service_token, const ledger_question *q,
                      ledger_used_fn done, void *arg)
{
    load_request m = APIRELAY__USAGE__V1__LOAD_LEDGER_REQUEST__INIT;
    gw_rpc_call_options options = {
        .path = "/apirelay.usage.v1.LedgerService/LoadLedger",
        .response = &apirelay__usage__v1__load_ledger_response__descriptor,
        .credential = service_token,
        .wait_for_ready = q->wait_for_usage,
    };
    question_call *c = calloc(1, sizeof(*c));

    if (!c)
        return false;
    *c = (question_call){done, arg};
    name_subject(&m, q->subject);
    m.load_id = q->load;
    m.day = q->day;
    m.fresh = q->fresh;
    if (gw_rpc_unary(usage, &options, &m.base, on_answer, c))
        return true;
    free(c);
    return false;
}
