/* SPDX-License-Identifier: MIT */
/* Spin locks, which Wine has in another form. */
#include "bound.h"

#include "machine.h"

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
    BOUND_IMPORT_OF("KeAcquireSpinLockRaiseToDpc", AcquireSpinLockRaiseToDpc),
    { NULL, NULL }
};
