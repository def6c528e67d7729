/* SPDX-License-Identifier: MIT */
/*
 * hpnotify: takes part in dynamic hardware partitioning and reports everything it is told.
 *
 * DriverEntry registers for synchronous notification of processors (KeRegisterProcessorChangeCallback) and for
 * asynchronous notification of processors and memory (IoRegisterPlugPlayNotification). The framework does not call
 * EvtDriverUnload when DriverEntry fails, so one teardown serves both.
 */
#include "hpnotify.h"

WDF_DECLARE_CONTEXT_TYPE_WITH_NAME(HPN_DRIVER, HpnDriverOf)

DRIVER_INITIALIZE DriverEntry;
EVT_WDF_DRIVER_UNLOAD HpnEvtDriverUnload;

static
VOID
HpnTeardown(
    _Inout_ PHPN_DRIVER Driver
    );

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
    ULONG syncFlags;
    ULONG asyncFlags;
    ULONG64 enter;

    WDF_DRIVER_CONFIG_INIT(&config, WDF_NO_EVENT_CALLBACK);
    config.DriverInitFlags |= WdfDriverInitNonPnpDriver;
    config.DriverPoolTag = HPN_POOL_TAG;
    config.EvtDriverUnload = HpnEvtDriverUnload;

    WDF_OBJECT_ATTRIBUTES_INIT_CONTEXT_TYPE(&attributes, HPN_DRIVER);

    status = WdfDriverCreate(DriverObject, RegistryPath, &attributes, &config, &framework);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    driver = HpnDriverOf(framework);
    driver->Framework = framework;
    HpnVetoInitialize(&driver->Veto);
    HpnBufferInitialize(&driver->Buffer);
    driver->Sync[0].Works = TRUE;
    HpnParametersRead(framework, &driver->Parameters);

    status = HpnLogOpen(driver);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    enter = HpnLogCallEnter(&driver->Log, "driver_entry", 0, 0, "", NULL);

    status = HpnControlCreate(driver);
    if (!NT_SUCCESS(status)) {
        goto Exit;
    }

    HpnBufferGrow(driver, HpnPhysicalMemory());

    syncFlags = driver->Parameters.AddExisting ? KE_PROCESSOR_CHANGE_ADD_EXISTING : 0;
    asyncFlags = driver->Parameters.IncludeExisting ? PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES : 0;

    status = HpnSyncRegister(driver, &driver->Sync[0], syncFlags);
    if (!NT_SUCCESS(status)) {
        goto Exit;
    }

    if (driver->Parameters.SecondRegistration) {
        status = HpnSyncRegister(driver, &driver->Sync[1], syncFlags);
        if (!NT_SUCCESS(status)) {
            goto Exit;
        }
    }

    status = HpnAsyncRegister(driver, &driver->ProcessorArrival, HpnAsyncProcessor, asyncFlags);
    if (!NT_SUCCESS(status)) {
        goto Exit;
    }

    status = HpnAsyncRegister(driver, &driver->MemoryArrival, HpnAsyncMemory, asyncFlags);
    if (!NT_SUCCESS(status)) {
        goto Exit;
    }

    /* Only now may requests arrive: everything that they touch exists. */
    WdfControlFinishInitializing(driver->Control);

Exit:
    if (!NT_SUCCESS(status)) {
        HpnTeardown(driver);
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
    HpnTeardown(driver);
    HpnLogCallExit(&driver->Log, enter, "unload", STATUS_SUCCESS, 0, NULL);
    HpnLogClose(driver);
}

/*
 * Undoes whatever DriverEntry achieved, in reverse order. The Plug and Play registrations are normally gone by the
 * time the driver is unloaded (IOCTL_HPNOTIFY_DETACH), because they hold a reference on the driver object.
 * The framework deletes the control device of a non-PnP driver itself after EvtDriverUnload.
 */
static
VOID
HpnTeardown(
    _Inout_ PHPN_DRIVER Driver
    )
{
    HpnAsyncUnregister(&Driver->MemoryArrival);
    HpnAsyncUnregister(&Driver->ProcessorArrival);
    HpnSyncDeregister(&Driver->Sync[1]);
    HpnSyncDeregister(&Driver->Sync[0]);
}
