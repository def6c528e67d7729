/* SPDX-License-Identifier: MIT */
/* Which behaviour the layer has now: the documented one, or that of the selected plant. */
#include "layer.h"

static const struct behaviour *current;

const struct behaviour *
behaviour(void)
{
    return __atomic_load_n(&current, __ATOMIC_ACQUIRE);
}

void
behaviour_select(const struct behaviour *selected)
{
    __atomic_store_n(&current, selected, __ATOMIC_RELEASE);
}
