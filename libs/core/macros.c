#include "core/macros.h"

#include <stdlib.h>

void gw_free_pointer(void *pp)
{
    void **p = pp;
    free(*p);
    *p = NULL;
}
