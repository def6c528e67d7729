/* SPDX-License-Identifier: MIT */
/*
 * Run-down protection: holders are counted in twos, and the lowest bit says that new ones are refused. A driver's
 * callback does its work between acquiring and releasing it.
 */
#include "layer.h"

VOID
ExInitializeRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    __atomic_store_n(&RunRef->Count, 0, __ATOMIC_SEQ_CST);
}

BOOLEAN
ExAcquireRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    if (__atomic_fetch_add(&RunRef->Count, 2, __ATOMIC_SEQ_CST) & 1) {
        __atomic_fetch_sub(&RunRef->Count, 2, __ATOMIC_SEQ_CST);
        return FALSE;
    }
    if (!behaviour()->work_begins()) {
        __atomic_fetch_sub(&RunRef->Count, 2, __ATOMIC_SEQ_CST);
        return FALSE;
    }
    return TRUE;
}

VOID
ExReleaseRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    behaviour()->work_ends();
    __atomic_fetch_sub(&RunRef->Count, 2, __ATOMIC_SEQ_CST);
}

VOID
ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF RunRef)
{
    __atomic_fetch_or(&RunRef->Count, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&RunRef->Count, __ATOMIC_SEQ_CST) > 1) {
        machine_delay(1000);
    }
}
