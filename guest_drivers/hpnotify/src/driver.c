/* SPDX-License-Identifier: MIT */
/*
 * hpnotify: takes part in dynamic hardware partitioning and reports every notification.
 *
 * It registers for synchronous notification of processors (KeRegisterProcessorChangeCallback) and for asynchronous
 * notification of processors and memory (IoRegisterPlugPlayNotification): in DriverEntry, or, installed as a Plug and
 * Play driver, when a device initializes its self-managed I/O (device.c). The framework does not call EvtDriverUnload
 * when DriverEntry fails, so one teardown serves both.
 */
#include "hpnotify.h"

DRIVER_INITIALIZE DriverEntry;
EVT_WDF_DRIVER_UNLOAD HpnEvtDriverUnload;

_Use_decl_annotations_
NTSTATUS
DriverEntry(
    PDRIVER_OBJECT DriverObject,
    PUNICODE_STRING RegistryPath
    )
{
    NTSTATUS status;
    WDF_DRIVER_CONFIG config;
    WDF_OBJECT_ATTRIBUTES attributes;
    WDFDRIVER framework;
    PHPN_DRIVER driver;
    BOOLEAN plugAndPlay;
    ULONG64 enter;

    plugAndPlay = HpnParametersPlugAndPlay(RegistryPath);
    WDF_DRIVER_CONFIG_INIT(&config, plugAndPlay ? HpnEvtDriverDeviceAdd : WDF_NO_EVENT_CALLBACK);
    if (!plugAndPlay) {
        config.DriverInitFlags |= WdfDriverInitNonPnpDriver;
    }
    config.DriverPoolTag = HPN_POOL_TAG;
    config.EvtDriverUnload = HpnEvtDriverUnload;

    WDF_OBJECT_ATTRIBUTES_INIT_CONTEXT_TYPE(&attributes, HPN_DRIVER);

    status = WdfDriverCreate(DriverObject, RegistryPath, &attributes, &config, &framework);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    driver = HpnDriverOf(framework);
    driver->Framework = framework;
    driver->PlugAndPlay = plugAndPlay;
    HpnVetoInitialize(&driver->Veto);
    HpnBufferInitialize(&driver->Buffer);
    driver->Sync[0].Works = TRUE;
    HpnParametersRead(framework, &driver->Parameters);
    HpnVetoSet(&driver->Veto, STATUS_INSUFFICIENT_RESOURCES, driver->Parameters.Veto);

    status = HpnLogOpen(driver);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    enter = HpnLogCallEnter(&driver->Log, "driver_entry", 0, 0, "", NULL);

    if (!plugAndPlay) {
        status = HpnDriverBegin(driver);
        if (!NT_SUCCESS(status)) {
            HpnDriverEnd(driver);
        }
    }

    HpnLogCallExit(&driver->Log, enter, "driver_entry", status, 0, NULL);
    if (!NT_SUCCESS(status)) {
        HpnLogClose(driver);
    }

    return status;
}

_Use_decl_annotations_
VOID
HpnEvtDriverUnload(
    WDFDRIVER Framework
    )
{
    PHPN_DRIVER driver = HpnDriverOf(Framework);
    ULONG64 enter;

    enter = HpnLogCallEnter(&driver->Log, "unload", 0, 0, "", NULL);
    HpnDriverEnd(driver);
    HpnLogCallExit(&driver->Log, enter, "unload", STATUS_SUCCESS, 0, NULL);
    HpnLogClose(driver);
}

_Use_decl_annotations_
NTSTATUS
HpnDriverBegin(
    PHPN_DRIVER Driver
    )
{
    NTSTATUS status;
    ULONG syncFlags;
    ULONG asyncFlags;

    status = HpnControlCreate(Driver);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    HpnBufferGrow(Driver, HpnPhysicalMemory());

    syncFlags = Driver->Parameters.AddExisting ? KE_PROCESSOR_CHANGE_ADD_EXISTING : 0;
    asyncFlags = Driver->Parameters.IncludeExisting ? PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES : 0;

    status = HpnSyncRegister(Driver, &Driver->Sync[0], syncFlags);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    if (Driver->Parameters.SecondRegistration) {
        status = HpnSyncRegister(Driver, &Driver->Sync[1], syncFlags);
        if (!NT_SUCCESS(status)) {
            return status;
        }
    }

    status = HpnAsyncRegister(Driver, &Driver->ProcessorArrival, HpnAsyncProcessor, asyncFlags);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    status = HpnAsyncRegister(Driver, &Driver->MemoryArrival, HpnAsyncMemory, asyncFlags);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    /* Requests may arrive only now: everything that they use exists. */
    WdfControlFinishInitializing(Driver->Control);
    return STATUS_SUCCESS;
}

/*
 * Undoes the completed steps of HpnDriverBegin, in reverse order. The Plug and Play registrations are normally gone by
 * the time the driver is unloaded (IOCTL_HPNOTIFY_DETACH, or its devices were removed), because they hold a reference
 * on the driver object. The framework deletes the control device of a non-PnP driver itself after EvtDriverUnload.
 */
_Use_decl_annotations_
VOID
HpnDriverEnd(
    PHPN_DRIVER Driver
    )
{
    HpnAsyncUnregister(&Driver->MemoryArrival);
    HpnAsyncUnregister(&Driver->ProcessorArrival);
    HpnSyncDeregister(&Driver->Sync[1]);
    HpnSyncDeregister(&Driver->Sync[0]);
}
