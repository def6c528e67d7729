/* SPDX-License-Identifier: MIT */
/* Event tracing without a session: writing succeeds without a reader, as on a system without an enabled session. */
#include "layer.h"

#define PROVIDERS 64

static LONG providers;

/* A handle is the index of its provider, counted from 1; an index is reused when its provider is gone. */
static struct {
    LONG used;
    GUID id;
} registered[PROVIDERS];

ULONG
providers_outstanding(void)
{
    return (ULONG)__atomic_load_n(&providers, __ATOMIC_SEQ_CST);
}

NTSTATUS
EtwRegister(LPCGUID ProviderId, PVOID EnableCallback, PVOID CallbackContext, PREGHANDLE RegHandle)
{
    ULONG place;

    UNREFERENCED_PARAMETER(EnableCallback);
    UNREFERENCED_PARAMETER(CallbackContext);
    if (machine_fails()) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    for (place = 0; place < PROVIDERS; place += 1) {
        if (__atomic_exchange_n(&registered[place].used, 1, __ATOMIC_SEQ_CST) == 0) {
            registered[place].id = *ProviderId;
            InterlockedIncrement(&providers);
            *RegHandle = place + 1;
            return STATUS_SUCCESS;
        }
    }
    return STATUS_INSUFFICIENT_RESOURCES;
}

static BOOLEAN
valid(REGHANDLE handle)
{
    return handle != 0 && handle <= PROVIDERS && __atomic_load_n(&registered[handle - 1].used, __ATOMIC_SEQ_CST) != 0;
}

NTSTATUS
EtwWrite(
    REGHANDLE RegHandle, PCEVENT_DESCRIPTOR EventDescriptor, LPCGUID ActivityId, ULONG UserDataCount,
    PEVENT_DATA_DESCRIPTOR UserData)
{
    UNREFERENCED_PARAMETER(ActivityId);
    if (!valid(RegHandle)) {
        layer_trouble("an event of a provider that is not registered");
        return STATUS_INVALID_HANDLE;
    }
    if (EventDescriptor->Level == 0) {
        layer_trouble("event %u has no level", EventDescriptor->Id);
    }
    if (machine_fails()) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    machine_trace(
        &registered[RegHandle - 1].id, EventDescriptor->Id, EventDescriptor->Version, UserData, UserDataCount);
    return STATUS_SUCCESS;
}

NTSTATUS
EtwUnregister(REGHANDLE RegHandle)
{
    if (!valid(RegHandle)) {
        return STATUS_INVALID_HANDLE;
    }
    behaviour()->tracing_ends();
    __atomic_store_n(&registered[RegHandle - 1].used, 0, __ATOMIC_SEQ_CST);
    InterlockedDecrement(&providers);
    return STATUS_SUCCESS;
}
