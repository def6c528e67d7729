/* SPDX-License-Identifier: MIT */
/*
 * The control device: \Device\<service>, reachable as \\.\<service> by SYSTEM and Administrators.
 */
#include "control.h"
#include "request.h"

static EVT_WDF_IO_QUEUE_IO_DEVICE_CONTROL HpnEvtIoDeviceControl;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnEvtIoDeviceControl)
#pragma alloc_text(PAGE, HpnControlCreate)
#pragma alloc_text(PAGE, HpnControlDelete)
#endif

/* The control device's context: leads from a request to the driver. */
typedef struct _HPN_CONTROL {
    PHPN_DRIVER Driver;
} HPN_CONTROL, *PHPN_CONTROL;

WDF_DECLARE_CONTEXT_TYPE_WITH_NAME(HPN_CONTROL, HpnControlOf)

/*
 * Executes a request of user mode and completes it.
 *
 * IRQL: PASSIVE_LEVEL, because the device's ExecutionLevel is WdfExecutionLevelPassive; otherwise <= DISPATCH_LEVEL.
 * Arguments:
 *     Queue: the control device's only queue, which presents one request at a time.
 *     Request: the request.
 *     OutputBufferLength: the bytes of its output buffer.
 *     InputBufferLength: the bytes of its input buffer.
 *     IoControlCode: one of the codes of public.h, or any other.
 * Returns: nothing; the request's status goes to its sender.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfio/nc-wdfio-evt_wdf_io_queue_io_device_control
 */
_Use_decl_annotations_
static
VOID
HpnEvtIoDeviceControl(
    WDFQUEUE Queue,
    WDFREQUEST Request,
    size_t OutputBufferLength,
    size_t InputBufferLength,
    ULONG IoControlCode
    )
{
    PHPN_DRIVER driver = HpnControlOf(WdfIoQueueGetDevice(Queue))->Driver;
    ULONG_PTR information = 0;
    NTSTATUS status;

    PAGED_CODE();

    status = HpnRequest(driver, Request, IoControlCode, InputBufferLength, OutputBufferLength, &information);
    WdfRequestCompleteWithInformation(Request, status, NT_SUCCESS(status) ? information : 0);
}

/* "\DosDevices\", the service name and the end of the string. */
#define HPN_CONTROL_NAME_CHARACTERS (12 + HPN_DRIVER_CHARACTERS + 1)

/* Builds "<prefix><service>" in Buffer. */
static
VOID
HpnControlName(
    _In_ const HPN_LOG *Log,
    _In_z_ PCWSTR Prefix,
    _Out_writes_(HPN_CONTROL_NAME_CHARACTERS) PWSTR Buffer,
    _Out_ PUNICODE_STRING Name
    )
{
    ULONG length = 0;
    ULONG index;

    for (index = 0; Prefix[index] != L'\0'; index += 1) {
        Buffer[length] = Prefix[index];
        length += 1;
    }
    for (index = 0; Log->Driver[index] != '\0'; index += 1) {
        Buffer[length] = (WCHAR)Log->Driver[index];
        length += 1;
    }
    Buffer[length] = L'\0';
    RtlInitUnicodeString(Name, Buffer);
}

/*
 * Creates the control device and its queue. Requests come one at a time and at PASSIVE_LEVEL, because a request may
 * unregister a callback. The caller ends with WdfControlFinishInitializing; before that the device cannot be opened.
 */
_Use_decl_annotations_
NTSTATUS
HpnControlCreate(
    PHPN_DRIVER Driver
    )
{
    DECLARE_CONST_UNICODE_STRING(sddl, L"D:P(A;;GA;;;SY)(A;;GA;;;BA)");
    WDF_OBJECT_ATTRIBUTES attributes;
    WDF_IO_QUEUE_CONFIG config;
    PWDFDEVICE_INIT initialize;
    WDFDEVICE device;
    WDFQUEUE queue;
    UNICODE_STRING name;
    WCHAR buffer[HPN_CONTROL_NAME_CHARACTERS];
    NTSTATUS status;

    PAGED_CODE();

    initialize = WdfControlDeviceInitAllocate(Driver->Framework, &sddl);
    if (initialize == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    HpnControlName(&Driver->Log, L"\\Device\\", buffer, &name);
    status = WdfDeviceInitAssignName(initialize, &name);
    if (!NT_SUCCESS(status)) {
        WdfDeviceInitFree(initialize);
        return status;
    }

    WDF_OBJECT_ATTRIBUTES_INIT_CONTEXT_TYPE(&attributes, HPN_CONTROL);
    attributes.ExecutionLevel = WdfExecutionLevelPassive;
    status = WdfDeviceCreate(&initialize, &attributes, &device);
    if (!NT_SUCCESS(status)) {
        WdfDeviceInitFree(initialize);
        return status;
    }

    HpnControlOf(device)->Driver = Driver;

    HpnControlName(&Driver->Log, L"\\DosDevices\\", buffer, &name);
    status = WdfDeviceCreateSymbolicLink(device, &name);
    if (!NT_SUCCESS(status)) {
        goto Exit;
    }

    WDF_IO_QUEUE_CONFIG_INIT_DEFAULT_QUEUE(&config, WdfIoQueueDispatchSequential);
    config.EvtIoDeviceControl = HpnEvtIoDeviceControl;
    status = WdfIoQueueCreate(device, &config, WDF_NO_OBJECT_ATTRIBUTES, &queue);
    if (!NT_SUCCESS(status)) {
        goto Exit;
    }

    Driver->Control = device;

Exit:
    if (!NT_SUCCESS(status)) {
        WdfObjectDelete(device);
    }

    return status;
}

_Use_decl_annotations_
VOID
HpnControlDelete(
    PHPN_DRIVER Driver
    )
{
    PAGED_CODE();

    if (Driver->Control != NULL) {
        WdfObjectDelete(Driver->Control);
        Driver->Control = NULL;
    }
}
