/* SPDX-License-Identifier: MIT */
/* The double's own control device, for adding processors and memory: a line of text in, a status out. */
#include "bound.h"

#include <initguid.h>
#include <poclass.h>

#include "core.h"

DRIVER_INITIALIZE DriverEntry;

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
