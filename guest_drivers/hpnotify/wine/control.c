/* SPDX-License-Identifier: MIT */
/* The control device of a bound driver. */
#include "bound.h"

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
