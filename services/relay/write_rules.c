#include "write_rules.h"

#include "core/net.h"
#include "core/pattern.h"
#include "core/url.h"

#define BASE_URL_MAX 2000

static void check_base_url(const provider_message *p, gw_violations *v)
{
    gw_url url;
    gw_ip ip;
    if (strlen(p->base_url) > BASE_URL_MAX)
        gw_violations_add(v, "baseUrl", "must have at most %d bytes", BASE_URL_MAX);
    else if (gw_url_parse(gw_str_of(p->base_url), &url, NULL) == GW_OK &&
             gw_ip_parse(url.host, &ip) && gw_ip_classify(&ip) == GW_IP_FORBIDDEN)
        gw_violations_add(v, "baseUrl",
                          "has an address that is never connected to (link-local, multicast, "
                          "unspecified, reserved)");
}

static const char *credential(const provider_message *p, size_t i)
{
    return i == 0 ? p->credential : p->more_credentials[i - 1];
}

/* Counted as two it would take twice its share, and a 429 of one would not rest the other. */
static void check_repeated_credentials(const provider_message *p, gw_violations *v)
{
    for (size_t i = 1; i <= p->n_more_credentials; i++) {
        for (size_t k = 0; k < i; k++) {
            char field[48];
            if (strcmp(credential(p, i), credential(p, k)) != 0)
                continue;
            snprintf(field, sizeof(field), "moreCredentials[%zu]", i - 1);
            gw_violations_add(v, field, "is named twice");
            break;
        }
    }
}

void provider_write_check(const provider_message *p, gw_violations *v)
{
    check_base_url(p, v);
    check_repeated_credentials(p, v);
}

static const char *model_asked_for(const route_message *r, size_t i)
{
    const char *upstream = r->targets[i]->upstream_model;
    return *upstream ? upstream : r->model;
}

/* Who asks for what is listed shall not be told that it does not exist. */
static void check_listed(const route_message *r, gw_violations *v)
{
    for (size_t i = 0; i < r->n_listed_models; i++) {
        char field[48];
        if (gw_glob_match(gw_str_of(r->model), gw_str_of(r->listed_models[i])))
            continue;
        snprintf(field, sizeof(field), "listedModels[%zu]", i);
        gw_violations_add(v, field, "must be a name that the route takes (%.60s)", r->model);
    }
}

static void check_label(const char *field, const char *text, gw_violations *v)
{
    if (*text && !gw_str_is_label(gw_str_of(text)))
        gw_violations_add(v, field, "must be text, " GW_LABEL_RULE);
}

static void check_labels(const route_message *r, gw_violations *v)
{
    char field[48];
    check_label("model", r->model, v);
    for (size_t i = 0; i < r->n_targets; i++) {
        snprintf(field, sizeof(field), "targets[%zu].upstreamModel", i);
        check_label(field, r->targets[i]->upstream_model, v);
    }
    for (size_t i = 0; i < r->n_listed_models; i++) {
        snprintf(field, sizeof(field), "listedModels[%zu]", i);
        check_label(field, r->listed_models[i], v);
    }
    check_label("ownedBy", r->owned_by, v);
}

void route_write_check(const route_message *r, gw_violations *v)
{
    check_labels(r, v);
    check_listed(r, v);
    bool is_name = gw_glob_is_exact(gw_str_of(r->model));
    for (size_t i = 1; is_name && i < r->n_targets; i++) {
        for (size_t k = 0; k < i; k++) {
            char field[48];
            if (strcmp(r->targets[i]->provider, r->targets[k]->provider) != 0 ||
                strcmp(model_asked_for(r, i), model_asked_for(r, k)) != 0)
                continue;
            snprintf(field, sizeof(field), "targets[%zu]", i);
            gw_violations_add(v, field, "must not ask for the model of targets[%zu] again", k);
            break;
        }
    }
}
