/* SPDX-License-Identifier: MIT */
/* Vetoes a processor on request, so that a vetoed addition can be observed. */
#ifndef HPNOTIFY_VETO_H
#define HPNOTIFY_VETO_H

#include <ntddk.h>

/* A requested veto: counted down by each Start. */
typedef struct _HPN_VETO {
    KSPIN_LOCK Lock;
    _Guarded_by_(Lock) ULONG Remaining;
    _Guarded_by_(Lock) NTSTATUS Status;
} HPN_VETO, *PHPN_VETO;

VOID
HpnVetoInitialize(
    _Out_ PHPN_VETO Veto
    );

VOID
HpnVetoSet(
    _Inout_ PHPN_VETO Veto,
    _In_ NTSTATUS Status,
    _In_ ULONG Nth
    );

/* Returns the error to veto this Start with, or STATUS_SUCCESS. */
NTSTATUS
HpnVetoTake(
    _Inout_ PHPN_VETO Veto
    );

#endif
