/*
 * Macros every module uses: cleanup attributes, result checking, sizes.
 */
#pragma once

#include <stddef.h>

/* The compiler objects to a dropped result. */
#define GW_CHECK __attribute__((warn_unused_result))
/* `format` is argument number f, its values start at argument number v. */
#define GW_PRINTF(f, v) __attribute__((format(printf, f, v)))

#define GW_ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define GW_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define GW_MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define GW_MAX(a, b)                       ((a) > (b) ? (a) : (b))

/*
 * GW_DEFINE_FREEP(budget) lets callers write `gw_auto(budget) b = NULL;`: budget_free(b) runs on
 * every path out of the scope. gw_steal(&b) moves ownership on and leaves NULL behind.
 */
#define GW_DEFINE_FREEP(type)                                                                      \
    static inline void type##_freep(type **p)                                                      \
    {                                                                                              \
        if (*p)                                                                                    \
            type##_free(*p);                                                                       \
    }
#define gw_auto(type) __attribute__((cleanup(type##_freep))) type *
#define gw_steal(pp)                                                                               \
    __extension__({                                                                                \
        __typeof__(pp) gw_pp_ = (pp);                                                              \
        __typeof__(*gw_pp_) gw_value_ = *gw_pp_;                                                   \
        *gw_pp_ = NULL;                                                                            \
        gw_value_;                                                                                 \
    })

/* For memory of malloc: `gw_auto_free char *text = NULL;` */
void gw_free_pointer(void *pp);
#define gw_auto_free __attribute__((cleanup(gw_free_pointer)))

/*
 * For a large local buffer that is written before it is read: the release build fills locals with zeros
 * (-ftrivial-auto-var-init), which for some KiB a request is seen in profiles.
 */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define GW_UNINITIALIZED __attribute__((uninitialized))
#else
#define GW_UNINITIALIZED
#endif
