/* SPDX-License-Identifier: MIT */
/* Vetoes a processor on request, so that a vetoed addition can be observed. */
#include "veto.h"

_Use_decl_annotations_
VOID
HpnVetoInitialize(
    PHPN_VETO Veto
    )
{
    KeInitializeSpinLock(&Veto->Lock);
    Veto->Remaining = 0;
    Veto->Status = STATUS_SUCCESS;
}

_Use_decl_annotations_
VOID
HpnVetoSet(
    PHPN_VETO Veto,
    NTSTATUS Status,
    ULONG Nth
    )
{
    KIRQL irql;

    KeAcquireSpinLock(&Veto->Lock, &irql);
    Veto->Remaining = NT_SUCCESS(Status) ? 0 : Nth;
    Veto->Status = Status;
    KeReleaseSpinLock(&Veto->Lock, irql);
}

_Use_decl_annotations_
NTSTATUS
HpnVetoTake(
    PHPN_VETO Veto
    )
{
    NTSTATUS status = STATUS_SUCCESS;
    KIRQL irql;

    KeAcquireSpinLock(&Veto->Lock, &irql);
    if (Veto->Remaining != 0) {
        Veto->Remaining -= 1;
        if (Veto->Remaining == 0) {
            status = Veto->Status;
        }
    }
    KeReleaseSpinLock(&Veto->Lock, irql);

    return status;
}
