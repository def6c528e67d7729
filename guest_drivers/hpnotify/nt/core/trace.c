/* SPDX-License-Identifier: MIT */
/* Event tracing without a session: writing succeeds and nobody reads, as on a system where none is enabled. */
#include "layer.h"

static LONG providers;

ULONG
providers_outstanding(void)
{
    return (ULONG)__atomic_load_n(&providers, __ATOMIC_SEQ_CST);
}

NTSTATUS
EtwRegister(LPCGUID ProviderId, PVOID EnableCallback, PVOID CallbackContext, PREGHANDLE RegHandle)
{
    UNREFERENCED_PARAMETER(ProviderId);
    UNREFERENCED_PARAMETER(EnableCallback);
    UNREFERENCED_PARAMETER(CallbackContext);
    if (machine_fails()) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    *RegHandle = (REGHANDLE)InterlockedIncrement(&providers);
    return STATUS_SUCCESS;
}

NTSTATUS
EtwWrite(
    REGHANDLE RegHandle, PCEVENT_DESCRIPTOR EventDescriptor, LPCGUID ActivityId, ULONG UserDataCount,
    PEVENT_DATA_DESCRIPTOR UserData)
{
    UNREFERENCED_PARAMETER(ActivityId);
    if (RegHandle == 0) {
        return STATUS_INVALID_HANDLE;
    }
    if (EventDescriptor->Level == 0) {
        layer_trouble("event %u has no level", EventDescriptor->Id);
    }
    if (machine_fails()) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    machine_trace(EventDescriptor->Id, UserData, UserDataCount);
    return STATUS_SUCCESS;
}

NTSTATUS
EtwUnregister(REGHANDLE RegHandle)
{
    if (RegHandle == 0) {
        return STATUS_INVALID_HANDLE;
    }
    InterlockedDecrement(&providers);
    return STATUS_SUCCESS;
}
