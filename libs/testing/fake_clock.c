#include "testing/fake_clock.h"

static int64_t fake_mono_ns(void *self)
{
    gw_fake_clock *f = self;
    return atomic_load(&f->mono_ns);
}

static int64_t fake_wall_ms(void *self)
{
    gw_fake_clock *f = self;
    return atomic_load(&f->wall_ms);
}

gw_clock gw_fake_clock_init(gw_fake_clock *f, int64_t wall_ms)
{
    atomic_init(&f->mono_ns, 1000000000);
    atomic_init(&f->wall_ms, wall_ms);
    return (gw_clock){fake_mono_ns, fake_wall_ms, f};
}

void gw_fake_clock_advance_ns(gw_fake_clock *f, int64_t ns)
{
    int64_t before = atomic_fetch_add(&f->mono_ns, ns);
    atomic_fetch_add(&f->wall_ms, (before + ns) / 1000000 - before / 1000000);
}

void gw_fake_clock_advance_ms(gw_fake_clock *f, int64_t ms)
{
    gw_fake_clock_advance_ns(f, ms * 1000000);
}

void gw_fake_clock_set_wall_ms(gw_fake_clock *f, int64_t wall_ms)
{
    atomic_store(&f->wall_ms, wall_ms);
}
