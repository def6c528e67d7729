/* SPDX-License-Identifier: MIT */
/* Control devices: that of a bound driver, and the double's own, for adding processors and memory. */
#include "bound.h"

#include <initguid.h>
#include <poclass.h>

#include "core.h"

DRIVER_INITIALIZE DriverEntry;

NTSTATUS
ControlComplete(
    _Inout_ PIRP Irp,
    _In_ NTSTATUS Status,
    _In_ ULONG_PTR Information
    )
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

NTSTATUS
NTAPI
ControlAccept(
    _In_ PDEVICE_OBJECT Device,
    _Inout_ PIRP Irp
    )
{
    UNREFERENCED_PARAMETER(Device);
    return ControlComplete(Irp, STATUS_SUCCESS, 0);
}

static
NTSTATUS
NTAPI
Ask(
    _In_ PDEVICE_OBJECT Device,
    _Inout_ PIRP Irp
    )
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    BOUND *bound = BoundDriver(Device->DriverObject);
    ULONG64 information = 0;
    NTSTATUS status;

    if (bound == NULL || bound->Control != Device) {
        return ControlComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
    }
    status = adapter_control(
        bound->Framework, stack->Parameters.DeviceIoControl.IoControlCode, Irp->AssociatedIrp.SystemBuffer,
        stack->Parameters.DeviceIoControl.InputBufferLength, Irp->AssociatedIrp.SystemBuffer,
        stack->Parameters.DeviceIoControl.OutputBufferLength, &information);
    return ControlComplete(Irp, status, information);
}

VOID
ControlBegin(
    _Inout_ BOUND *Bound
    )
{
    NTSTATUS status;

    status = IoCreateDevice(
        Bound->Driver, 0, &Bound->DeviceName.String, FILE_DEVICE_UNKNOWN, 0, FALSE, &Bound->Control);
    if (NT_SUCCESS(status)) {
        status = IoCreateSymbolicLink(&Bound->LinkName.String, &Bound->DeviceName.String);
    }
    if (!NT_SUCCESS(status)) {
        double_trouble("Wine made no device: %08x", (unsigned)status);
    }
    Bound->Driver->MajorFunction[IRP_MJ_CREATE] = ControlAccept;
    Bound->Driver->MajorFunction[IRP_MJ_CLEANUP] = ControlAccept;
    Bound->Driver->MajorFunction[IRP_MJ_CLOSE] = ControlAccept;
    Bound->Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Ask;
}

VOID
ControlEnd(
    _Inout_ BOUND *Bound
    )
{
    if (Bound->Control != NULL) {
        IoDeleteSymbolicLink(&Bound->LinkName.String);
        IoDeleteDevice(Bound->Control);
        Bound->Control = NULL;
    }
}

/* The double's own: a line of text in, a status out. */
static
NTSTATUS
NTAPI
Command(
    _In_ PDEVICE_OBJECT Device,
    _Inout_ PIRP Irp
    )
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    char line[256];
    ULONG length = stack->Parameters.DeviceIoControl.InputBufferLength;

    UNREFERENCED_PARAMETER(Device);
    if (length >= sizeof(line)) {
        return ControlComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }
    memcpy(line, Irp->AssociatedIrp.SystemBuffer, length);
    line[length] = 0;
    if (strcmp(line, "announce processor") == 0) {
        return ControlComplete(Irp, double_announce(&GUID_DEVICE_PROCESSOR), 0);
    }
    if (strcmp(line, "announce memory") == 0) {
        return ControlComplete(Irp, double_announce(&GUID_DEVICE_MEMORY), 0);
    }
    if (strcmp(line, "finish") != 0) {
        return ControlComplete(Irp, double_command(line), 0);
    }

    /* The last command: with no driver bound and the core empty, all remaining objects were leaked. */
    core_finish();
    double_say(
        "left allocations=%ld core=%u threads=%ld handles=%ld references=%ld dpcs=%ld\n", double_allocations(),
        adapter_outstanding(), ObjectThreads, ObjectHandles, ObjectReferences, DpcQueued);
    return ControlComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS
NTAPI
DriverEntry(
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PUNICODE_STRING RegistryPath
    )
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\hpnwine");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\hpnwine");
    PDEVICE_OBJECT device;
    NTSTATUS status;

    /* Wine calls the entry point of a driver that imports from kernel32 as a DLL's, too: with a reason from 0 to 3. */
    if ((ULONG_PTR)RegistryPath <= 3) {
        return TRUE;
    }

    double_begin((PVOID)(ULONG_PTR)DriverEntry);
    status = IoCreateDevice(DriverObject, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (NT_SUCCESS(status)) {
        status = IoCreateSymbolicLink(&link, &name);
    }
    DriverObject->MajorFunction[IRP_MJ_CREATE] = ControlAccept;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = ControlAccept;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = ControlAccept;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Command;
    return status;
}
