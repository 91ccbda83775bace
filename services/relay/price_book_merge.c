#include "price_book_merge.h"

#include "core/map.h"

static gw_status no_memory(gw_error *err)
{
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to compare the prices");
}

static gw_map *map_of(price_list l)
{
    gw_auto(gw_map) map = gw_map_new(NULL);
    for (size_t i = 0; map && i < l.count; i++) {
        gw_auto_buf key = {0};
        price_key(l.items[i], &key);
        if (gw_buf_failed(&key) || !gw_map_put(map, gw_buf_str(&key), l.items[i]))
            return NULL;
    }
    return gw_steal(&map);
}

static price_message *find(const gw_map *map, const price_message *p)
{
    gw_auto_buf key = {0};
    price_key(p, &key);
    return gw_map_get(map, gw_buf_str(&key));
}

static bool is_same(gw_arena *a, const price_message *x, const price_message *y)
{
    size_t len = apirelay__relay__v1__model_price__get_packed_size(x);
    if (len != apirelay__relay__v1__model_price__get_packed_size(y))
        return false;
    uint8_t *both = gw_arena_alloc(a, 2 * len + 1);
    if (!both)
        return false;
    apirelay__relay__v1__model_price__pack(x, both);
    apirelay__relay__v1__model_price__pack(y, both + len);
    return memcmp(both, both + len, len) == 0;
}

gw_status price_book_merge(gw_arena *a, price_list before, price_list now, bool keep,
                           price_list *ret, price_changes *changes, gw_error *err)
{
    gw_auto(gw_map) of_before = map_of(before);
    gw_auto(gw_map) of_now = map_of(now);
    price_message **items = gw_arena_array(a, price_message *, before.count + now.count + 1);
    size_t count = 0;
    if (!of_before || !of_now || !items)
        return no_memory(err);
    *changes = (price_changes){0};
    for (size_t i = 0; i < before.count; i++) {
        price_message *in_place = find(of_now, before.items[i]);
        if (keep)
            items[count++] = in_place ? in_place : before.items[i];
        else if (!in_place)
            changes->removed++;
    }
    for (size_t i = 0; i < now.count; i++) {
        price_message *was = find(of_before, now.items[i]);
        changes->added += !was;
        changes->changed += was && !is_same(a, was, now.items[i]);
        if (!keep || !was)
            items[count++] = now.items[i];
    }
    *ret = (price_list){items, count};
    return GW_OK;
}
