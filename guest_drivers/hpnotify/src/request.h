/* SPDX-License-Identifier: MIT */
/* The requests of user mode (public.h). */
#ifndef HPNOTIFY_REQUEST_H
#define HPNOTIFY_REQUEST_H

#include <ntddk.h>
#include <wdf.h>

#include "hpnotify.h"

/* Executes a request. Returns the bytes written to the output buffer in Information. */

_IRQL_requires_(PASSIVE_LEVEL)
NTSTATUS
HpnRequest(
    _Inout_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ ULONG Code,
    _In_ size_t InputLength,
    _In_ size_t OutputLength,
    _Out_ ULONG_PTR *Information
    );

#endif
