/* SPDX-License-Identifier: MIT */
/* Distributes work over the processors, and accounts for it. */
#ifndef HPNOTIFY_BALANCE_H
#define HPNOTIFY_BALANCE_H

#include <ntddk.h>

#include "public.h"
#include "sync.h"

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnBalance(
    _Inout_ PHPN_SYNC Sync,
    _In_ ULONG Items
    );

/*
 * Adds the account of the processors to Statistics, fills in as many of Processors as fit in Room and returns their
 * number.
 */
_IRQL_requires_(PASSIVE_LEVEL)
ULONG
HpnBalanceAccount(
    _Inout_ PHPN_SYNC Sync,
    _Inout_ HPNOTIFY_STATISTICS *Statistics,
    _Out_writes_(Room) HPNOTIFY_PROCESSOR *Processors,
    _In_ ULONG Room
    );

#endif
