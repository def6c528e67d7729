/* SPDX-License-Identifier: MIT */
/* The drivers that are bound. */
#include "bound.h"

#define DRIVERS 4

static BOUND Drivers[DRIVERS];

BOUND *
BoundOf(
    PWDF_DRIVER_GLOBALS Globals
    )
{
    return CONTAINING_RECORD(Globals, BOUND, Globals);
}

BOUND *
BoundDriver(
    PDRIVER_OBJECT Driver
    )
{
    ULONG index;

    for (index = 0; index < DRIVERS; index += 1) {
        if (Drivers[index].Driver == Driver) {
            return &Drivers[index];
        }
    }
    return NULL;
}
