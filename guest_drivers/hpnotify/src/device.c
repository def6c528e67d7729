/* SPDX-License-Identifier: MIT */
/*
 * The driver's devices, if it is installed as a Plug and Play driver (wdk/hpnotify.inf).
 *
 * Notifications are about the system and not about a device, so one device has the driver's registrations: the first
 * whose self-managed I/O is initialized. That happens once in a device's life, unlike its start: a rebalance stops
 * and starts a device, and must not register again (DDI: wdm/nf-wdm-ioregisterplugplaynotification.md). Nothing here
 * ever refuses to stop, which would take the device out of the rebalance (WD:
 * kernel/introduction-to-driver-notification.md); everything is reported.
 */
#include "control.h"
#include "device.h"
#include "line.h"
#include "registrations.h"

/* Characters of the hardware ID in a device's name, and the length of "#" and its number. */
#define HPN_HARDWARE_CHARACTERS 48
#define HPN_DEVICE_CHARACTERS (HPN_HARDWARE_CHARACTERS + 12)

/* Room for the whole list of hardware IDs, of which the first is used. */
#define HPN_HARDWARE_LIST_CHARACTERS 256

typedef struct _HPN_DEVICE {
    PHPN_DRIVER Driver;
    /* This device has the driver's registrations. */
    BOOLEAN Registers;
    CHAR Name[HPN_DEVICE_CHARACTERS + 1];
} HPN_DEVICE, *PHPN_DEVICE;

WDF_DECLARE_CONTEXT_TYPE_WITH_NAME(HPN_DEVICE, HpnDeviceOf)

/* The reported requests, and their names in the same order. */
static const UCHAR HpnMinors[] = {
    IRP_MN_START_DEVICE, IRP_MN_QUERY_STOP_DEVICE, IRP_MN_CANCEL_STOP_DEVICE, IRP_MN_STOP_DEVICE,
    IRP_MN_QUERY_REMOVE_DEVICE, IRP_MN_CANCEL_REMOVE_DEVICE, IRP_MN_SURPRISE_REMOVAL, IRP_MN_REMOVE_DEVICE
};

static const PCSTR HpnMinorNames[RTL_NUMBER_OF(HpnMinors)] = {
    "START", "QUERY_STOP", "CANCEL_STOP", "STOP",
    "QUERY_REMOVE", "CANCEL_REMOVE", "SURPRISE_REMOVAL", "REMOVE"
};

static EVT_WDFDEVICE_WDM_IRP_PREPROCESS HpnEvtPlugAndPlay;
static EVT_WDF_DEVICE_PREPARE_HARDWARE HpnEvtPrepareHardware;
static EVT_WDF_DEVICE_RELEASE_HARDWARE HpnEvtReleaseHardware;
static EVT_WDF_DEVICE_D0_ENTRY HpnEvtD0Entry;
static EVT_WDF_DEVICE_D0_EXIT HpnEvtD0Exit;
static EVT_WDF_DEVICE_SELF_MANAGED_IO_INIT HpnEvtSelfManagedIoInit;
static EVT_WDF_DEVICE_SELF_MANAGED_IO_SUSPEND HpnEvtSelfManagedIoSuspend;
static EVT_WDF_DEVICE_SELF_MANAGED_IO_RESTART HpnEvtSelfManagedIoRestart;
static EVT_WDF_DEVICE_SELF_MANAGED_IO_CLEANUP HpnEvtSelfManagedIoCleanup;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnEvtDriverDeviceAdd)
#pragma alloc_text(PAGE, HpnEvtPrepareHardware)
#pragma alloc_text(PAGE, HpnEvtReleaseHardware)
#pragma alloc_text(PAGE, HpnEvtSelfManagedIoInit)
#pragma alloc_text(PAGE, HpnEvtSelfManagedIoCleanup)
#endif

static
ULONG64
HpnDeviceEnter(
    _In_ PHPN_DRIVER Driver,
    _In_z_ PCSTR Device,
    _In_z_ PCSTR Minor
    )
{
    HPN_PnpEnter record;

    record.Device = Device;
    record.Minor = Minor;
    return HpnLogRecord(&Driver->Log, HpnRecordPnpEnter, &record);
}

static
VOID
HpnDeviceExit(
    _In_ PHPN_DRIVER Driver,
    _In_ ULONG64 Enter,
    _In_z_ PCSTR Device,
    _In_z_ PCSTR Minor,
    _In_ NTSTATUS Returned
    )
{
    HPN_PnpExit record;

    record.Enter = Enter;
    record.Device = Device;
    record.Minor = Minor;
    record.Returned = (ULONG)Returned;
    HpnLogRecord(&Driver->Log, HpnRecordPnpExit, &record);
}

/* Reports a callback without any work. */
static
NTSTATUS
HpnDeviceReport(
    _In_ WDFDEVICE Device,
    _In_z_ PCSTR Minor
    )
{
    PHPN_DEVICE device = HpnDeviceOf(Device);
    ULONG64 enter;

    enter = HpnDeviceEnter(device->Driver, device->Name, Minor);
    HpnDeviceExit(device->Driver, enter, device->Name, Minor, STATUS_SUCCESS);
    return STATUS_SUCCESS;
}

/* "<first hardware ID>#<number>": the number distinguishes two devices of a kind. */
static
VOID
HpnDeviceName(
    _In_ PHPN_DRIVER Driver,
    _In_ PWDFDEVICE_INIT DeviceInit,
    _Out_writes_(HPN_DEVICE_CHARACTERS + 1) PSTR Name
    )
{
    WCHAR hardware[HPN_HARDWARE_LIST_CHARACTERS];
    HPN_LINE line;
    ULONG length = 0;
    ULONG bytes;

    if (NT_SUCCESS(WdfFdoInitQueryProperty(
            DeviceInit, DevicePropertyHardwareID, sizeof(hardware), hardware, &bytes))) {
        for (; length < HPN_HARDWARE_CHARACTERS && length < bytes / sizeof(WCHAR); length += 1) {
            if (hardware[length] == L'\0') {
                break;
            }
            Name[length] = hardware[length] < 0x80 ? (CHAR)hardware[length] : '_';
        }
    }

    line.Buffer = Name;
    line.Capacity = HPN_DEVICE_CHARACTERS;
    line.Length = length;
    HpnLineText(&line, "#");
    HpnLineDecimal(&line, (ULONG)InterlockedIncrement(&Driver->Devices));
    Name[line.Length] = '\0';
}

/*
 * Creates a device for one that the Plug and Play manager found.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     Driver: the framework's driver object.
 *     DeviceInit: the definition of the device, to be completed.
 * Returns: STATUS_SUCCESS, or the error of the step that failed; there is then no device.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdriver/nc-wdfdriver-evt_wdf_driver_device_add
 */
_Use_decl_annotations_
NTSTATUS
HpnEvtDriverDeviceAdd(
    WDFDRIVER Driver,
    PWDFDEVICE_INIT DeviceInit
    )
{
    PHPN_DRIVER driver = HpnDriverOf(Driver);
    WDF_PNPPOWER_EVENT_CALLBACKS callbacks;
    WDF_OBJECT_ATTRIBUTES attributes;
    CHAR name[HPN_DEVICE_CHARACTERS + 1];
    PHPN_DEVICE context;
    WDFDEVICE device;
    NTSTATUS status;
    ULONG64 enter;

    PAGED_CODE();

    HpnDeviceName(driver, DeviceInit, name);
    enter = HpnDeviceEnter(driver, name, "AddDevice");

    WDF_PNPPOWER_EVENT_CALLBACKS_INIT(&callbacks);
    callbacks.EvtDevicePrepareHardware = HpnEvtPrepareHardware;
    callbacks.EvtDeviceReleaseHardware = HpnEvtReleaseHardware;
    callbacks.EvtDeviceD0Entry = HpnEvtD0Entry;
    callbacks.EvtDeviceD0Exit = HpnEvtD0Exit;
    callbacks.EvtDeviceSelfManagedIoInit = HpnEvtSelfManagedIoInit;
    callbacks.EvtDeviceSelfManagedIoSuspend = HpnEvtSelfManagedIoSuspend;
    callbacks.EvtDeviceSelfManagedIoRestart = HpnEvtSelfManagedIoRestart;
    callbacks.EvtDeviceSelfManagedIoCleanup = HpnEvtSelfManagedIoCleanup;
    WdfDeviceInitSetPnpPowerEventCallbacks(DeviceInit, &callbacks);

    /* The framework has no callback for the requests themselves, so they are inspected before it gets them. */
    status = WdfDeviceInitAssignWdmIrpPreprocessCallback(
        DeviceInit, HpnEvtPlugAndPlay, IRP_MJ_PNP, (PUCHAR)HpnMinors, RTL_NUMBER_OF(HpnMinors));
    if (!NT_SUCCESS(status)) {
        goto Exit;
    }

    WDF_OBJECT_ATTRIBUTES_INIT_CONTEXT_TYPE(&attributes, HPN_DEVICE);
    status = WdfDeviceCreate(&DeviceInit, &attributes, &device);
    if (!NT_SUCCESS(status)) {
        goto Exit;
    }

    context = HpnDeviceOf(device);
    context->Driver = driver;
    RtlCopyMemory(context->Name, name, sizeof(name));

Exit:
    HpnDeviceExit(driver, enter, name, "AddDevice", status);
    return status;
}

static
PCSTR
HpnMinorName(
    _In_ UCHAR Minor
    )
{
    ULONG index = 0;

    while (index < RTL_NUMBER_OF(HpnMinors) - 1 && HpnMinors[index] != Minor) {
        index += 1;
    }

    return HpnMinorNames[index];
}

/*
 * Reports a Plug and Play request around the framework's handling of it. The exit of a request that the framework
 * completes later says STATUS_PENDING. After a removal the device and its context are gone, the driver is not: it is
 * unloaded only when the request came back.
 *
 * IRQL: <= DISPATCH_LEVEL: the level of the thread that sends the request. Not pageable for that reason.
 * Arguments:
 *     Device: the device that the request is for.
 *     Irp: the request, with a stack location of its own for this routine.
 * Returns: what WdfDeviceWdmDispatchPreprocessedIrp returns.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdevice/nc-wdfdevice-evt_wdfdevice_wdm_irp_preprocess
 */
_Use_decl_annotations_
static
NTSTATUS
HpnEvtPlugAndPlay(
    WDFDEVICE Device,
    PIRP Irp
    )
{
    PHPN_DRIVER driver = HpnDeviceOf(Device)->Driver;
    PCSTR minor = HpnMinorName(IoGetCurrentIrpStackLocation(Irp)->MinorFunction);
    CHAR name[HPN_DEVICE_CHARACTERS + 1];
    NTSTATUS status;
    ULONG64 enter;

    RtlCopyMemory(name, HpnDeviceOf(Device)->Name, sizeof(name));
    enter = HpnDeviceEnter(driver, name, minor);
    IoSkipCurrentIrpStackLocation(Irp);
    status = WdfDeviceWdmDispatchPreprocessedIrp(Device, Irp);
    HpnDeviceExit(driver, enter, name, minor, status);
    return status;
}

/*
 * Reports that the device has its resources; called at every start, so nothing is registered here.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     Device: the device.
 *     ResourcesRaw: its resources as the bus sees them; unused.
 *     ResourcesTranslated: its resources as the processor sees them; unused.
 * Returns: STATUS_SUCCESS.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdevice/nc-wdfdevice-evt_wdf_device_prepare_hardware
 */
_Use_decl_annotations_
static
NTSTATUS
HpnEvtPrepareHardware(
    WDFDEVICE Device,
    WDFCMRESLIST ResourcesRaw,
    WDFCMRESLIST ResourcesTranslated
    )
{
    PAGED_CODE();

    UNREFERENCED_PARAMETER(ResourcesRaw);
    UNREFERENCED_PARAMETER(ResourcesTranslated);
    return HpnDeviceReport(Device, "PrepareHardware");
}

/*
 * Reports that the device gives its resources up.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     Device: the device.
 *     ResourcesTranslated: the resources; unused.
 * Returns: STATUS_SUCCESS.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdevice/nc-wdfdevice-evt_wdf_device_release_hardware
 */
_Use_decl_annotations_
static
NTSTATUS
HpnEvtReleaseHardware(
    WDFDEVICE Device,
    WDFCMRESLIST ResourcesTranslated
    )
{
    PAGED_CODE();

    UNREFERENCED_PARAMETER(ResourcesTranslated);
    return HpnDeviceReport(Device, "ReleaseHardware");
}

/*
 * Reports that the device enters its working state.
 *
 * IRQL: PASSIVE_LEVEL. Not pageable: the page says so.
 * Arguments:
 *     Device: the device.
 *     PreviousState: the state that it leaves; unused.
 * Returns: STATUS_SUCCESS.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdevice/nc-wdfdevice-evt_wdf_device_d0_entry
 */
_Use_decl_annotations_
static
NTSTATUS
HpnEvtD0Entry(
    WDFDEVICE Device,
    WDF_POWER_DEVICE_STATE PreviousState
    )
{
    UNREFERENCED_PARAMETER(PreviousState);
    return HpnDeviceReport(Device, "D0Entry");
}

/*
 * Reports that the device leaves its working state.
 *
 * IRQL: PASSIVE_LEVEL. Not pageable: it is called while the system changes its power state.
 * Arguments:
 *     Device: the device.
 *     TargetState: the state that it enters; unused.
 * Returns: STATUS_SUCCESS.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdevice/nc-wdfdevice-evt_wdf_device_d0_exit
 */
_Use_decl_annotations_
static
NTSTATUS
HpnEvtD0Exit(
    WDFDEVICE Device,
    WDF_POWER_DEVICE_STATE TargetState
    )
{
    UNREFERENCED_PARAMETER(TargetState);
    return HpnDeviceReport(Device, "D0Exit");
}

/*
 * Reports that the device is about to stop.
 *
 * IRQL: PASSIVE_LEVEL. Not pageable: it is called while the system changes its power state.
 * Arguments:
 *     Device: the device.
 * Returns: STATUS_SUCCESS.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdevice/nc-wdfdevice-evt_wdf_device_self_managed_io_suspend
 */
_Use_decl_annotations_
static
NTSTATUS
HpnEvtSelfManagedIoSuspend(
    WDFDEVICE Device
    )
{
    return HpnDeviceReport(Device, "SelfManagedIoSuspend");
}

/*
 * Reports that the device works again. The registrations still exist, so none is made.
 *
 * IRQL: PASSIVE_LEVEL. Not pageable: it is called while the system changes its power state.
 * Arguments:
 *     Device: the device.
 * Returns: STATUS_SUCCESS.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdevice/nc-wdfdevice-evt_wdf_device_self_managed_io_restart
 */
_Use_decl_annotations_
static
NTSTATUS
HpnEvtSelfManagedIoRestart(
    WDFDEVICE Device
    )
{
    return HpnDeviceReport(Device, "SelfManagedIoRestart");
}

/*
 * Begins the driver's service in its first device. If this fails, the framework calls EvtDeviceSelfManagedIoCleanup,
 * which undoes the completed steps.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     Device: the device; this is called once in its life.
 * Returns: STATUS_SUCCESS, or the error of the registration that failed; the device is then not started.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdevice/nc-wdfdevice-evt_wdf_device_self_managed_io_init
 */
_Use_decl_annotations_
static
NTSTATUS
HpnEvtSelfManagedIoInit(
    WDFDEVICE Device
    )
{
    PHPN_DEVICE device = HpnDeviceOf(Device);
    NTSTATUS status = STATUS_SUCCESS;
    ULONG64 enter;

    PAGED_CODE();

    enter = HpnDeviceEnter(device->Driver, device->Name, "SelfManagedIoInit");
    if (InterlockedExchange(&device->Driver->HasRegistrar, 1) == 0) {
        device->Registers = TRUE;
        status = HpnRegistrationsBegin(device->Driver);
    }

    HpnDeviceExit(device->Driver, enter, device->Name, "SelfManagedIoInit", status);
    return status;
}

/*
 * Ends the driver's service if this device began it. Another device does not take over: to restore the
 * registrations, start a device again. The control device is deleted first, so that no request is in progress any
 * more; the driver cannot be unloaded while it exists.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     Device: the device, which is about to go.
 * Returns: nothing.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdevice/nc-wdfdevice-evt_wdf_device_self_managed_io_cleanup
 */
_Use_decl_annotations_
static
VOID
HpnEvtSelfManagedIoCleanup(
    WDFDEVICE Device
    )
{
    PHPN_DEVICE device = HpnDeviceOf(Device);
    ULONG64 enter;

    PAGED_CODE();

    enter = HpnDeviceEnter(device->Driver, device->Name, "SelfManagedIoCleanup");
    if (device->Registers) {
        HpnControlDelete(device->Driver);
        HpnRegistrationsEnd(device->Driver);
        InterlockedExchange(&device->Driver->HasRegistrar, 0);
    }

    HpnDeviceExit(device->Driver, enter, device->Name, "SelfManagedIoCleanup", STATUS_SUCCESS);
}
