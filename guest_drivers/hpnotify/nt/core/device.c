/* SPDX-License-Identifier: MIT */
/*
 * Devices of a Plug and Play driver. Starting such a driver's service finds two of them: one that is enumerated by the
 * root and has no resources, and a PCI device that has. All requests are sent under the lock of the services.
 *
 * Within a request the framework's callbacks come in the documented order (WD:
 * wdf/the-pnp-manager-redistributes-system-resources.md). A rebalance asks every device whether it may be stopped. A
 * device that refuses, or has no resources, gets CANCEL_STOP (WD: kernel/stopping-a-device-to-rebalance-resources.md).
 * One that opted out is not asked (WD: install/devpkey-device-dhp-rebalance-policy.md).
 */
#include "object.h"

struct _IRP {
    IO_STACK_LOCATION location;
    BOOLEAN skipped;
};

static volatile LONG nodes;

/* What the driver sets up in EvtDriverDeviceAdd. */

VOID
WdfDeviceInitSetPnpPowerEventCallbacks(PWDFDEVICE_INIT DeviceInit, PWDF_PNPPOWER_EVENT_CALLBACKS PnpPowerEventCallbacks)
{
    (void)object_is_initialized(
        "WDF_PNPPOWER_EVENT_CALLBACKS", PnpPowerEventCallbacks->Size, sizeof(*PnpPowerEventCallbacks));
    DeviceInit->callbacks = *PnpPowerEventCallbacks;
}

NTSTATUS
WdfDeviceInitAssignWdmIrpPreprocessCallback(
    PWDFDEVICE_INIT DeviceInit, EVT_WDFDEVICE_WDM_IRP_PREPROCESS *EvtDeviceWdmIrpPreprocess, UCHAR MajorFunction,
    PUCHAR MinorFunctions, ULONG NumMinorFunctions)
{
    if (machine_fails()) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (MajorFunction != IRP_MJ_PNP || NumMinorFunctions > MOST_MINORS) {
        return STATUS_INVALID_PARAMETER;
    }
    DeviceInit->preprocess = EvtDeviceWdmIrpPreprocess;
    RtlCopyMemory(DeviceInit->minors, MinorFunctions, NumMinorFunctions);
    DeviceInit->minor_count = NumMinorFunctions;
    return STATUS_SUCCESS;
}

NTSTATUS
WdfFdoInitQueryProperty(
    PWDFDEVICE_INIT DeviceInit, DEVICE_REGISTRY_PROPERTY DeviceProperty, ULONG BufferLength, PVOID PropertyBuffer,
    PULONG ResultLength)
{
    WCHAR text[LAYER_NAME_CHARACTERS] = { 0 };

    if (machine_fails() || DeviceProperty != DevicePropertyHardwareID) {
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }

    /* A list: each of its strings ends with a zero, and the list with another. */
    wide_append_ascii(text, LAYER_NAME_CHARACTERS - 1, DeviceInit->hardware);
    *ResultLength = (wide_length(text) + 2) * sizeof(WCHAR);
    if (*ResultLength > BufferLength) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    RtlCopyMemory(PropertyBuffer, text, *ResultLength);
    return STATUS_SUCCESS;
}

/* The framework's handling of the requests. */

static NTSTATUS
power_up(WDFDEVICE device, struct WDFDEVICE_INIT *node)
{
    const WDF_PNPPOWER_EVENT_CALLBACKS *callbacks = &node->callbacks;
    NTSTATUS status;

    status = callbacks->EvtDevicePrepareHardware(device, NULL, NULL);
    if (NT_SUCCESS(status)) {
        node->powered = TRUE;
        status = callbacks->EvtDeviceD0Entry(device, node->initialized ? WdfPowerDeviceD3 : WdfPowerDeviceD3Final);
    }
    if (NT_SUCCESS(status) && node->initialized) {
        status = callbacks->EvtDeviceSelfManagedIoRestart(device);
    } else if (NT_SUCCESS(status)) {
        node->initialized = TRUE;
        status = callbacks->EvtDeviceSelfManagedIoInit(device);
    }
    return status;
}

void
device_power_off(struct WDFDEVICE_INIT *node, WDF_POWER_DEVICE_STATE target)
{
    WDFDEVICE device = (WDFDEVICE)node->device;

    (void)node->callbacks.EvtDeviceD0Exit(device, target);
    (void)node->callbacks.EvtDeviceReleaseHardware(device, NULL);
}

static void
power_down(WDFDEVICE device, struct WDFDEVICE_INIT *node, WDF_POWER_DEVICE_STATE target, BOOLEAN suspend)
{
    if (node->powered) {
        node->powered = FALSE;
        if (suspend) {
            (void)node->callbacks.EvtDeviceSelfManagedIoSuspend(device);
        }
        behaviour()->power_off(node, target);
    }
}

/* After a removal the device is gone, with everything that the driver kept in it. */
static void
remove_device(WDFDEVICE device, struct WDFDEVICE_INIT *node)
{
    power_down(device, node, WdfPowerDeviceD3Final, TRUE);
    if (node->initialized) {
        node->callbacks.EvtDeviceSelfManagedIoCleanup(device);
    }
    node->device = NULL;
    WdfObjectDelete(device);
}

PIO_STACK_LOCATION
IoGetCurrentIrpStackLocation(PIRP Irp)
{
    return &Irp->location;
}

VOID
IoSkipCurrentIrpStackLocation(PIRP Irp)
{
    Irp->skipped = TRUE;
}

static NTSTATUS
handle(WDFDEVICE device, UCHAR minor)
{
    struct WDFDEVICE_INIT *node = ((struct object *)device)->device.node;
    NTSTATUS status = STATUS_SUCCESS;

    switch (minor) {
    case IRP_MN_START_DEVICE:
        status = power_up(device, node);
        if (!NT_SUCCESS(status)) {
            power_down(device, node, WdfPowerDeviceD3Final, FALSE);
        }
        break;

    case IRP_MN_STOP_DEVICE:
        power_down(device, node, WdfPowerDeviceD3, TRUE);
        break;

    case IRP_MN_SURPRISE_REMOVAL:
        power_down(device, node, WdfPowerDeviceD3Final, TRUE);
        break;

    case IRP_MN_REMOVE_DEVICE:
        remove_device(device, node);
        break;
    }
    return status;
}

NTSTATUS
device_handle(WDFDEVICE device, UCHAR minor)
{
    return behaviour()->answer(minor, handle(device, minor));
}

NTSTATUS
WdfDeviceWdmDispatchPreprocessedIrp(WDFDEVICE Device, PIRP Irp)
{
    if (!Irp->skipped) {
        layer_trouble("a request was given back to the framework in the driver's own stack location");
    }
    return device_handle(Device, Irp->location.MinorFunction);
}

/* The Plug and Play manager's side. */

static NTSTATUS
send(struct WDFDEVICE_INIT *node, UCHAR minor)
{
    WDFDEVICE device = (WDFDEVICE)node->device;
    struct _IRP irp = { .location = { .MajorFunction = IRP_MJ_PNP, .MinorFunction = minor } };
    ULONG index;

    for (index = 0; index < node->minor_count; index += 1) {
        if (node->minors[index] == minor) {
            return node->preprocess(device, &irp);
        }
    }
    return device_handle(device, minor);
}

struct WDFDEVICE_INIT *
node_create(WDFDRIVER driver, const char *hardware, BOOLEAN resources)
{
    struct WDFDEVICE_INIT *node = machine_allocate(sizeof(*node));

    if (node != NULL) {
        node->driver = (struct object *)driver;
        node->plug_and_play = TRUE;
        node->hardware = hardware;
        node->resources = resources;
        InterlockedIncrement(&nodes);
    }
    return node;
}

NTSTATUS
node_add(struct WDFDEVICE_INIT *node)
{
    NTSTATUS status = node->driver->driver.config.EvtDriverDeviceAdd((WDFDRIVER)node->driver, node);

    if (!NT_SUCCESS(status) && node->device != NULL) {
        WdfObjectDelete(node->device);
    }
    return status;
}

void
node_delete(struct WDFDEVICE_INIT *node)
{
    machine_free(node);
    InterlockedDecrement(&nodes);
}

/* An INF file can write this property of a device (AddProperty); here it is a value beside the driver's own. */
static BOOLEAN
opted_out(struct object *driver)
{
    WCHAR path[LAYER_NAME_CHARACTERS] = { 0 };
    UNICODE_STRING name;
    ULONG value = 0;
    ULONG length;
    ULONG type;

    wide_append(path, LAYER_NAME_CHARACTERS, driver->driver.object->registry_path);
    wide_append_ascii(path, LAYER_NAME_CHARACTERS, "\\Parameters");
    RtlInitUnicodeString(&name, L"RebalanceOptOut");
    return NT_SUCCESS(registry_get(path, &name, sizeof(value), &value, &length, &type)) && type == REG_DWORD && value == 1;
}

static NTSTATUS
add(struct object *driver, const char *hardware, BOOLEAN resources)
{
    struct WDFDEVICE_INIT *node = node_create((WDFDRIVER)driver, hardware, resources);
    NTSTATUS status;

    if (node == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    node->opted_out = opted_out(driver);
    status = node_add(node);
    if (NT_SUCCESS(status)) {
        status = send(node, IRP_MN_START_DEVICE);
        if (!NT_SUCCESS(status)) {
            (void)send(node, IRP_MN_REMOVE_DEVICE);
        }
    }
    if (!NT_SUCCESS(status)) {
        node_delete(node);
        return status;
    }

    node->next = driver->driver.nodes;
    driver->driver.nodes = node;
    return STATUS_SUCCESS;
}

BOOLEAN
devices_exist(void)
{
    return ReadAcquire(&nodes) != 0;
}

NTSTATUS
devices_add(WDFDRIVER driver)
{
    struct object *object = (struct object *)driver;
    NTSTATUS status;

    if (object->driver.config.EvtDriverDeviceAdd == NULL) {
        return STATUS_SUCCESS;
    }
    status = add(object, "ROOT\\HPNOTIFY", FALSE);
    if (NT_SUCCESS(status)) {
        status = add(object, "PCI\\VEN_1234&DEV_11E8&SUBSYS_11001AF4&REV_10", TRUE);
    }
    if (!NT_SUCCESS(status)) {
        devices_remove(driver);
    }
    return status;
}

static void
take_away(struct WDFDEVICE_INIT **link)
{
    struct WDFDEVICE_INIT *node = *link;

    *link = node->next;
    (void)send(node, IRP_MN_QUERY_REMOVE_DEVICE);
    (void)send(node, IRP_MN_REMOVE_DEVICE);
    node_delete(node);
}

void
devices_remove(WDFDRIVER driver)
{
    struct object *object = (struct object *)driver;

    while (object->driver.nodes != NULL) {
        take_away(&object->driver.nodes);
    }
}

/* The device that was added first is the last of the list. */
NTSTATUS
devices_reenable(WDFDRIVER driver)
{
    struct object *object = (struct object *)driver;
    struct WDFDEVICE_INIT **link = &object->driver.nodes;
    const char *hardware;
    BOOLEAN resources;

    if (*link == NULL) {
        return STATUS_INVALID_DEVICE_STATE;
    }
    while ((*link)->next != NULL) {
        link = &(*link)->next;
    }
    hardware = (*link)->hardware;
    resources = (*link)->resources;
    take_away(link);
    return add(object, hardware, resources);
}

BOOLEAN
device_takes_part(struct WDFDEVICE_INIT *node)
{
    return !node->opted_out;
}

NTSTATUS
device_query_stop(struct WDFDEVICE_INIT *node)
{
    return send(node, IRP_MN_QUERY_STOP_DEVICE);
}

/* A device that does not start again is lost (WD: kernel/stopping-a-device-to-rebalance-resources.md). */
static BOOLEAN
rebalance(struct WDFDEVICE_INIT *node)
{
    if (!behaviour()->takes_part(node)) {
        return TRUE;
    }
    if (!NT_SUCCESS(behaviour()->query_stop(node)) || !node->resources) {
        (void)send(node, IRP_MN_CANCEL_STOP_DEVICE);
        return TRUE;
    }
    (void)send(node, IRP_MN_STOP_DEVICE);
    if (NT_SUCCESS(send(node, IRP_MN_START_DEVICE))) {
        return TRUE;
    }
    (void)send(node, IRP_MN_SURPRISE_REMOVAL);
    (void)send(node, IRP_MN_REMOVE_DEVICE);
    return FALSE;
}

void
devices_rebalance(WDFDRIVER driver)
{
    struct WDFDEVICE_INIT **link = &((struct object *)driver)->driver.nodes;
    struct WDFDEVICE_INIT *node;

    while (*link != NULL) {
        node = *link;
        if (rebalance(node)) {
            link = &node->next;
        } else {
            *link = node->next;
            node_delete(node);
        }
    }
}
