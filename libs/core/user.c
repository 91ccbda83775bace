#include "core/user.h"

#include "core/str.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#define ENTRY_MAX 16384 /* of the user database, texts included */

static bool to_id(gw_str text, unsigned *ret)
{
    uint64_t number;
    if (!gw_str_to_uint64(text, &number) || number >= UINT32_MAX) /* the last one is "no user" */
        return false;
    *ret = (unsigned)number;
    return true;
}

static bool find_group(gw_str text, gid_t *ret)
{
    char name[64], space[ENTRY_MAX];
    struct group entry, *found = NULL;
    if (text.len == 0 || text.len >= sizeof(name))
        return false;
    (void)snprintf(name, sizeof(name), GW_STR_FMT, GW_STR_ARG(text));
    if (getgrnam_r(name, &entry, space, sizeof(space), &found) != 0 || !found)
        return to_id(text, ret);
    *ret = found->gr_gid;
    return true;
}

bool gw_user_find(const char *text, gw_user *ret)
{
    gw_str group = gw_str_of(text), name = GW_STR_NULL;
    gw_user user = {0};
    char space[ENTRY_MAX];
    struct passwd entry, *found = NULL;
    bool has_group = gw_str_find(group, ':') >= 0;
    if (!gw_str_split(&group, ':', &name) || name.len == 0 || name.len >= sizeof(user.name))
        return false;
    (void)snprintf(user.name, sizeof(user.name), GW_STR_FMT, GW_STR_ARG(name));
    if ((getpwnam_r(user.name, &entry, space, sizeof(space), &found) != 0 || !found) &&
        to_id(name, &user.uid)) {
        user.gid = user.uid;
        user.name[0] = '\0';
        if (getpwuid_r(user.uid, &entry, space, sizeof(space), &found) == 0 && found)
            (void)snprintf(user.name, sizeof(user.name), "%s", found->pw_name);
    } else if (!found) {
        return false;
    }
    if (found) {
        user.uid = found->pw_uid;
        user.gid = found->pw_gid;
    }
    if (has_group && !find_group(group, &user.gid))
        return false;
    *ret = user;
    return true;
}
