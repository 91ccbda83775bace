#include "limit_policy.h"

#include "api_key_rules.h"
#include "core/id.h"
#include "field_mask.h"
#include "messages.h"

void limit_policy_subject(const char *kind, const char *id, change_subject *ret, gw_violations *v)
{
    gw_object_id oid;
    char hex[GW_OBJECT_ID_HEX_SIZE];
    gw_str text = gw_str_of(id);
    if (strcmp(kind, "clients") == 0) {
        if (text.len == 0 || !api_key_client_id_is_valid(text))
            gw_violations_add(v, "id", "must have 1-%d printable characters without spaces",
                              CLIENT_ID_MAX_BYTES);
        *ret = change_subject_of(CHANGE_OF_CLIENT_LIMITS, text);
    } else if (strcmp(kind, "users") == 0) {
        if (!gw_object_id_parse(text, &oid)) {
            gw_violations_add(v, "id", "must be 24 hex digits");
            return;
        }
        gw_object_id_format(&oid, hex);
        *ret = change_subject_of(CHANGE_OF_OWNER_LIMITS, gw_str_of(hex));
    } else {
        gw_violations_add(v, "kind", "must be one of clients|users");
    }
}

limit_policy limit_policy_none(gw_arena *a, const change_subject *s)
{
    return (limit_policy){.subject = *s,
                          .view = message_new(a, &apirelay__auth__v1__limit_policy__descriptor)};
}

void limit_policy_refresh_view(gw_arena *a, limit_policy *p)
{
    bool client = p->subject.kind == CHANGE_OF_CLIENT_LIMITS;
    p->view->kind = message_text(a, client ? GW_STR("clients") : GW_STR("users"));
    p->view->id = message_text(a, gw_str_of(p->subject.id));
    p->view->etag = message_text(a, gw_arena_printf(a, "v%lld", (long long)p->version));
}

static bool is_writable(const char *path)
{
    return strcmp(path, "limits") == 0 || gw_str_starts_with(gw_str_of(path), GW_STR("limits."));
}

gw_status limit_policy_update_apply(limit_policy_plan *plan, gw_arena *a, limit_policy *p,
                                    bool *ret_changed, gw_error *err)
{
    limit_policy_update *u = GW_CONTAINER_OF(plan, limit_policy_update, plan);
    gw_violations v = {0};
    field_mask_apply(a, &p->view->base, &u->from->base, u->paths, u->path_count, is_writable, &v);
    if (!p->view->limits)
        p->view->limits = message_new(a, &apirelay__auth__v1__key_limits__descriptor);
    if (!p->view->limits) /* none would be lifted ones */
        return gw_fail(err, GW_ERR_NO_MEMORY, "limits");
    api_key_pair_cost_limit(p->view->limits, &v);
    api_key_check_limits(p->view->limits, &v);
    *ret_changed = true;
    u->violations = v;
    return gw_violations_status(&v, err);
}

gw_status limit_policy_lift_apply(limit_policy_plan *plan, gw_arena *a, limit_policy *p,
                                  bool *ret_changed, gw_error *err)
{
    (void)plan;
    (void)a;
    (void)err;
    *ret_changed = p->view->limits != NULL;
    p->view->limits = NULL;
    return GW_OK;
}
