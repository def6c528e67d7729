/* SPDX-License-Identifier: MIT */
/* Spin locks and run-down protection, which Wine has in another form or not at all. */
#include "bound.h"

#include "machine.h"

/* Run-down protection: holders are counted in twos, and the lowest bit says that new ones are refused. */

static
VOID
NTAPI
InitializeRundownProtection(
    PEX_RUNDOWN_REF RunRef
    )
{
    __atomic_store_n(&RunRef->Count, 0, __ATOMIC_SEQ_CST);
}

static
BOOLEAN
NTAPI
AcquireRundownProtection(
    PEX_RUNDOWN_REF RunRef
    )
{
    if (__atomic_fetch_add(&RunRef->Count, 2, __ATOMIC_SEQ_CST) & 1) {
        __atomic_fetch_sub(&RunRef->Count, 2, __ATOMIC_SEQ_CST);
        return FALSE;
    }
    if (!core_rundown_acquired()) {
        __atomic_fetch_sub(&RunRef->Count, 2, __ATOMIC_SEQ_CST);
        return FALSE;
    }
    return TRUE;
}

static
VOID
NTAPI
ReleaseRundownProtection(
    PEX_RUNDOWN_REF RunRef
    )
{
    core_rundown_releases();
    __atomic_fetch_sub(&RunRef->Count, 2, __ATOMIC_SEQ_CST);
}

static
VOID
NTAPI
WaitForRundownProtectionRelease(
    PEX_RUNDOWN_REF RunRef
    )
{
    __atomic_fetch_or(&RunRef->Count, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&RunRef->Count, __ATOMIC_SEQ_CST) > 1) {
        machine_pause();
    }
}

static
KIRQL
NTAPI
AcquireSpinLockRaiseToDpc(
    PKSPIN_LOCK SpinLock
    )
{
    return (KIRQL)machine_spin_acquire(SpinLock);
}

const BOUND_IMPORT LockImports[] = {
    BOUND_IMPORT_OF("ExInitializeRundownProtection", InitializeRundownProtection),
    BOUND_IMPORT_OF("ExAcquireRundownProtection", AcquireRundownProtection),
    BOUND_IMPORT_OF("ExReleaseRundownProtection", ReleaseRundownProtection),
    BOUND_IMPORT_OF("ExWaitForRundownProtectionRelease", WaitForRundownProtectionRelease),
    BOUND_IMPORT_OF("KeAcquireSpinLockRaiseToDpc", AcquireSpinLockRaiseToDpc),
    { NULL, NULL }
};
