/* SPDX-License-Identifier: MIT */
/*
 * tiny: the minimal driver that takes part in processor hot-add and reports it with its own events.
 *
 * It is independent of the harness and stands for your driver: it registers for synchronous notification, keeps one
 * flag per processor, and writes events (tiny.man) where a typical driver writes them. harness.toml maps the events to
 * records.
 */
#include <ntddk.h>
#include <wdf.h>

#define TINY_LEVEL 4
#define TINY_PROCESSORS 2048

typedef enum _TINY_EVENT {
    TinyLoading = 1,
    TinyLoaded,
    TinyRegistering,
    TinyRegistered,
    TinyChanging,
    TinyChanged,
    TinyDeregistering,
    TinyDeregistered,
    TinyUnloading,
    TinyUnloaded
} TINY_EVENT;

/* {B7D5C1E0-4A2F-4C6B-9D38-51E07F2A6C94} */
static const GUID TinyProvider = {
    0xB7D5C1E0, 0x4A2F, 0x4C6B, { 0x9D, 0x38, 0x51, 0xE0, 0x7F, 0x2A, 0x6C, 0x94 }
};

static REGHANDLE TinyTrace;
static PVOID TinyRegistration;
static UCHAR TinyKnown[TINY_PROCESSORS];

DRIVER_INITIALIZE DriverEntry;
static EVT_WDF_DRIVER_UNLOAD TinyUnload;
static PROCESSOR_CALLBACK_FUNCTION TinyProcessorChange;

/* Without a listener events are lost; the driver continues anyway. */
static
VOID
TinyWrite(
    _In_ TINY_EVENT Event,
    _In_reads_opt_(Count) PEVENT_DATA_DESCRIPTOR Data,
    _In_ ULONG Count
    )
{
    EVENT_DESCRIPTOR descriptor = { 0 };

    descriptor.Id = (USHORT)Event;
    descriptor.Level = TINY_LEVEL;
    (VOID)EtwWrite(TinyTrace, &descriptor, NULL, Count, Data);
}

static
VOID
TinyWriteStatus(
    _In_ TINY_EVENT Event,
    _In_ ULONG Status
    )
{
    EVENT_DATA_DESCRIPTOR data;

    EventDataDescCreate(&data, &Status, sizeof(Status));
    TinyWrite(Event, &data, 1);
}

static
VOID
TinyProcessorChange(
    _In_ PVOID CallbackContext,
    _In_ PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change,
    _Inout_ PNTSTATUS OperationStatus
    )
{
    EVENT_DATA_DESCRIPTOR data[6];
    ULONG state = (ULONG)Change->State;

    UNREFERENCED_PARAMETER(CallbackContext);

    EventDataDescCreate(&data[0], &state, sizeof(state));
    EventDataDescCreate(&data[1], &Change->NtNumber, sizeof(Change->NtNumber));
    EventDataDescCreate(&data[2], &Change->ProcNumber.Group, sizeof(Change->ProcNumber.Group));
    EventDataDescCreate(&data[3], &Change->ProcNumber.Number, sizeof(Change->ProcNumber.Number));
    EventDataDescCreate(&data[4], &Change->Status, sizeof(Change->Status));
    EventDataDescCreate(&data[5], OperationStatus, sizeof(*OperationStatus));
    TinyWrite(TinyChanging, data, 6);

    switch (Change->State) {
    case KeProcessorAddStartNotify:
        if (Change->NtNumber >= TINY_PROCESSORS) {
            *OperationStatus = STATUS_INSUFFICIENT_RESOURCES;
        } else {
            TinyKnown[Change->NtNumber] = TRUE;
        }
        break;

    case KeProcessorAddFailureNotify:
        if (Change->NtNumber < TINY_PROCESSORS) {
            TinyKnown[Change->NtNumber] = FALSE;
        }
        break;

    default:
        break;
    }

    TinyWriteStatus(TinyChanged, (ULONG)*OperationStatus);
}

static
NTSTATUS
TinyRegister(
    VOID
    )
{
    EVENT_DATA_DESCRIPTOR data[2];
    ULONG status;
    UCHAR given;

    TinyWriteStatus(TinyRegistering, KE_PROCESSOR_CHANGE_ADD_EXISTING);
    TinyRegistration = KeRegisterProcessorChangeCallback(TinyProcessorChange, NULL, KE_PROCESSOR_CHANGE_ADD_EXISTING);
    given = TinyRegistration != NULL;
    status = (ULONG)(given ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL);
    EventDataDescCreate(&data[0], &status, sizeof(status));
    EventDataDescCreate(&data[1], &given, sizeof(given));
    TinyWrite(TinyRegistered, data, 2);
    return (NTSTATUS)status;
}

static
VOID
TinyUnload(
    _In_ WDFDRIVER Driver
    )
{
    UNREFERENCED_PARAMETER(Driver);

    TinyWrite(TinyUnloading, NULL, 0);
    if (TinyRegistration != NULL) {
        TinyWrite(TinyDeregistering, NULL, 0);
        KeDeregisterProcessorChangeCallback(TinyRegistration);
        TinyRegistration = NULL;
        TinyWrite(TinyDeregistered, NULL, 0);
    }
    TinyWrite(TinyUnloaded, NULL, 0);
    (VOID)EtwUnregister(TinyTrace);
}

NTSTATUS
DriverEntry(
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PUNICODE_STRING RegistryPath
    )
{
    WDF_DRIVER_CONFIG config;
    WDFDRIVER driver;
    NTSTATUS status;

    WDF_DRIVER_CONFIG_INIT(&config, WDF_NO_EVENT_CALLBACK);
    config.DriverInitFlags |= WdfDriverInitNonPnpDriver;
    config.EvtDriverUnload = TinyUnload;
    status = WdfDriverCreate(DriverObject, RegistryPath, WDF_NO_OBJECT_ATTRIBUTES, &config, &driver);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    status = EtwRegister(&TinyProvider, NULL, NULL, &TinyTrace);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    TinyWrite(TinyLoading, NULL, 0);
    status = TinyRegister();
    TinyWriteStatus(TinyLoaded, (ULONG)status);
    if (!NT_SUCCESS(status)) {
        (VOID)EtwUnregister(TinyTrace);
    }

    return status;
}
