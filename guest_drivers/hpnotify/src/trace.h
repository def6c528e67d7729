/* SPDX-License-Identifier: MIT */
/* The same records as events of a manifest-based provider (hpnotify.man). */
#ifndef HPNOTIFY_TRACE_H
#define HPNOTIFY_TRACE_H

#include <ntddk.h>

#include "format.h"

/* The provider while it is registered, and the buffer of one event. */
typedef struct _HPN_TRACE {
    REGHANDLE Provider;
    ULONG64 Failures;
    EVENT_DATA_DESCRIPTOR Data[HPN_MOST_FIELDS];
} HPN_TRACE, *PHPN_TRACE;

/* On success Provider has the handle; until the caller stores it in Trace, nothing is written. */
_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnTraceRegister(
    _Out_ PREGHANDLE Provider
    );

/* Nothing is written any more once this was called. */
_IRQL_requires_(PASSIVE_LEVEL)
NTSTATUS
HpnTraceUnregister(
    _Inout_ PHPN_TRACE Trace
    );

/* Called under the log's lock. */
VOID
HpnTraceRecord(
    _Inout_ PHPN_TRACE Trace,
    _In_ const HPN_SAMPLE *Sample,
    _In_ HPN_RECORD_KIND Kind,
    _In_ const VOID *Fields
    );

#endif
