/* SPDX-License-Identifier: MIT */
/*
 * Devices of a Plug and Play driver. Wine's own Plug and Play manager finds those that the root enumerates, adds and
 * starts them, and removes them when the driver is stopped: what it asks comes through here to the driver and to the
 * core, which stands for the framework. Wine never stops a device to start it again, so a rebalance is the double's.
 */
#include "bound.h"

#define NODES 8

typedef struct _NODE {
    /* The core's node, which is the driver's WDFDEVICE_INIT; NULL if this place is free. */
    PVOID Core;
    PDEVICE_OBJECT Physical;
    PDEVICE_OBJECT Function;
    PDEVICE_OBJECT Lower;
    /* The current request while the driver inspects it first. */
    PIO_STACK_LOCATION Location;
} NODE;

/* Only Wine's thread for Plug and Play and the double's for commands come here, and never concurrently. */
static NODE Nodes[NODES];

static
NODE *
Find(
    _In_opt_ PVOID Core,
    _In_opt_ PDEVICE_OBJECT Function,
    _In_opt_ PVOID Device
    )
{
    NODE *node;

    for (node = Nodes; node < Nodes + NODES; node += 1) {
        if (node->Core != NULL && (node->Core == Core || node->Function == Function ||
                                   (Device != NULL && adapter_node_device(node->Core) == Device))) {
            return node;
        }
    }
    return NULL;
}

NTSTATUS
NTAPI
DeviceAdd(
    PDRIVER_OBJECT DriverObject,
    PDEVICE_OBJECT PhysicalDeviceObject
    )
{
    BOUND *bound = BoundDriver(DriverObject);
    NODE *node = Nodes;
    NTSTATUS status;

    while (node < Nodes + NODES && node->Core != NULL) {
        node += 1;
    }
    if (bound == NULL || node == Nodes + NODES) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    status = IoCreateDevice(DriverObject, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &node->Function);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    node->Physical = PhysicalDeviceObject;
    node->Core = adapter_node(bound->Framework);
    status = node->Core != NULL ? adapter_node_add(node->Core) : STATUS_INSUFFICIENT_RESOURCES;
    if (NT_SUCCESS(status)) {
        node->Lower = IoAttachDeviceToDeviceStack(node->Function, PhysicalDeviceObject);
        return STATUS_SUCCESS;
    }
    if (node->Core != NULL) {
        adapter_node_delete(node->Core);
        node->Core = NULL;
    }
    IoDeleteDevice(node->Function);
    return status;
}

/*
 * The framework's handling of a request: its own part, then the lower driver's. The lower one is Wine's, which does
 * nothing when the device starts, so the order makes no difference here.
 */
static
NTSTATUS
Handle(
    _Inout_ NODE *Node,
    _Inout_ PIRP Irp
    )
{
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    PDEVICE_OBJECT function = Node->Function;
    PDEVICE_OBJECT lower = Node->Lower;
    NTSTATUS status = adapter_node_handle(Node->Core, minor);

    if (!NT_SUCCESS(status)) {
        return ControlComplete(Irp, status, 0);
    }
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(lower, Irp);
    if (minor == IRP_MN_REMOVE_DEVICE) {
        adapter_node_delete(Node->Core);
        Node->Core = NULL;
        IoDetachDevice(lower);
        IoDeleteDevice(function);
    }
    return status;
}

/* The driver passes a request on in the location of a lower driver, which is the framework's here. */
NTSTATUS
DeviceDispatchPreprocessed(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDEVICE Device,
    PIRP Irp
    )
{
    NODE *node = Find(NULL, NULL, Device);

    UNREFERENCED_PARAMETER(Globals);
    if (node == NULL) {
        double_trouble("a request was given on for a device that is not there");
        return ControlComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    IoSetNextIrpStackLocation(Irp);
    if (IoGetCurrentIrpStackLocation(Irp) != node->Location) {
        double_trouble("a request was given back to the framework in the driver's own stack location");
    }
    return Handle(node, Irp);
}

NTSTATUS
NTAPI
DevicePlugAndPlay(
    PDEVICE_OBJECT Device,
    PIRP Irp
    )
{
    NODE *node = Find(NULL, Device, NULL);
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    EVT_WDFDEVICE_WDM_IRP_PREPROCESS *preprocess;

    if (node == NULL) {
        return ControlComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    preprocess = (EVT_WDFDEVICE_WDM_IRP_PREPROCESS *)(ULONG_PTR)adapter_node_preprocessed(node->Core, minor);
    if (preprocess != NULL) {
        node->Location = IoGetCurrentIrpStackLocation(Irp);
        return preprocess(adapter_node_device(node->Core), Irp);
    }
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(node->Lower, Irp);
}

NTSTATUS
NTAPI
DevicePower(
    PDEVICE_OBJECT Device,
    PIRP Irp
    )
{
    NODE *node = Find(NULL, Device, NULL);

    if (node == NULL) {
        return ControlComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(node->Lower, Irp);
}

/* Wine's own answer: the list of hardware IDs that the device was installed with. */
NTSTATUS
DeviceQueryProperty(
    PWDF_DRIVER_GLOBALS Globals,
    PWDFDEVICE_INIT DeviceInit,
    DEVICE_REGISTRY_PROPERTY DeviceProperty,
    ULONG BufferLength,
    PVOID PropertyBuffer,
    PULONG ResultLength
    )
{
    NODE *node = Find(DeviceInit, NULL, NULL);

    UNREFERENCED_PARAMETER(Globals);
    return node == NULL
               ? STATUS_INVALID_DEVICE_REQUEST
               : IoGetDeviceProperty(node->Physical, DeviceProperty, BufferLength, PropertyBuffer, ResultLength);
}

/*
 * Makes Wine notify applications of an interface of that class (WD:
 * kernel/registering-for-application-notification.md). It needs a device to belong to, so nothing happens while there
 * is no node.
 */
int
double_announce(const void *class)
{
    UNICODE_STRING link;
    NTSTATUS status;
    NODE *node;

    for (node = Nodes; node < Nodes + NODES && node->Core == NULL; node += 1) {
    }
    if (node == Nodes + NODES) {
        return STATUS_DEVICE_NOT_READY;
    }
    status = IoRegisterDeviceInterface(node->Physical, class, NULL, &link);
    if (NT_SUCCESS(status)) {
        status = IoSetDeviceInterfaceState(&link, TRUE);
        RtlFreeUnicodeString(&link);
    }
    return status;
}

static
NTSTATUS
Send(
    _In_ PDEVICE_OBJECT Device,
    _In_ UCHAR Minor
    )
{
    IO_STATUS_BLOCK answer;
    KEVENT event;
    PIRP irp;

    KeInitializeEvent(&event, NotificationEvent, FALSE);
    irp = IoBuildSynchronousFsdRequest(IRP_MJ_PNP, Device, NULL, 0, NULL, &event, &answer);
    if (irp == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    IoGetNextIrpStackLocation(irp)->MinorFunction = Minor;
    irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
    if (IoCallDriver(Device, irp) == STATUS_PENDING) {
        KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    }
    return answer.Status;
}

/* In the place of the core's service.c: devices belong to Wine here. */
void
service_rebalance_all(void *unused)
{
    NODE *node;

    UNREFERENCED_PARAMETER(unused);
    for (node = Nodes; node < Nodes + NODES; node += 1) {
        if (node->Core == NULL) {
            continue;
        }
        if (!NT_SUCCESS(Send(node->Function, IRP_MN_QUERY_STOP_DEVICE))) {
            (void)Send(node->Function, IRP_MN_CANCEL_STOP_DEVICE);
            continue;
        }
        (void)Send(node->Function, IRP_MN_STOP_DEVICE);
        if (!NT_SUCCESS(Send(node->Function, IRP_MN_START_DEVICE))) {
            double_trouble("a device that was stopped does not start again");
        }
    }
}
