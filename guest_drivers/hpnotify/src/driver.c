/* SPDX-License-Identifier: MIT */
/*
 * hpnotify: takes part in dynamic hardware partitioning and reports every notification.
 *
 * It registers for synchronous notification of processors (KeRegisterProcessorChangeCallback) and for asynchronous
 * notification of processors and memory (IoRegisterPlugPlayNotification): in DriverEntry, or, installed as a Plug and
 * Play driver, when a device initializes its self-managed I/O (device.c). The framework does not call EvtDriverUnload
 * when DriverEntry fails, so one teardown serves both.
 */
#include "device.h"
#include "hpnotify.h"
#include "pool.h"
#include "registrations.h"

DRIVER_INITIALIZE DriverEntry;
EVT_WDF_DRIVER_UNLOAD HpnEvtDriverUnload;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(INIT, DriverEntry)
#pragma alloc_text(PAGE, HpnEvtDriverUnload)
#endif

/*
 * The driver's first routine: creates the framework's driver object, opens the log and, unless the driver is
 * installed as a Plug and Play driver, begins its service.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     DriverObject: the driver object that the I/O manager allocated.
 *     RegistryPath: the path of the service's registry key.
 * Returns: STATUS_SUCCESS, or the error of the step that failed; the driver is then not loaded.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nc-wdm-driver_initialize
 */
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
    HPN_LOG_CONFIG log;
    WDFDRIVER framework;
    PHPN_DRIVER driver;
    BOOLEAN plugAndPlay;
    ULONG64 enter;

    PAGED_CODE();

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
    HpnParametersRead(framework, &driver->Parameters);
    HpnVetoInitialize(&driver->Veto);
    HpnBufferInitialize(&driver->Buffer, &driver->Log);
    HpnSyncInitialize(&driver->Sync[0], &driver->Log, &driver->Veto, TRUE);
    HpnSyncInitialize(&driver->Sync[1], &driver->Log, &driver->Veto, FALSE);
    HpnAsyncInitialize(&driver->ProcessorArrival, &driver->Log, HpnAsyncProcessor, NULL);
    HpnAsyncInitialize(&driver->MemoryArrival, &driver->Log, HpnAsyncMemory, &driver->Buffer);
    HpnVetoSet(&driver->Veto, STATUS_INSUFFICIENT_RESOURCES, driver->Parameters.Veto);

    log.Framework = framework;
    log.DebugPort = driver->Parameters.DebugPort;
    log.RingRecords = driver->Parameters.RingRecords;
    log.Mode = plugAndPlay ? "pnp" : "nonpnp";
    status = HpnLogOpen(&driver->Log, &log);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    enter = HpnLogCallEnter(&driver->Log, "driver_entry", 0, 0, "", NULL);

    if (!plugAndPlay) {
        status = HpnRegistrationsBegin(driver);
        if (!NT_SUCCESS(status)) {
            HpnRegistrationsEnd(driver);
        }
    }

    HpnLogCallExit(&driver->Log, enter, "driver_entry", status, 0, NULL);
    if (!NT_SUCCESS(status)) {
        HpnLogClose(&driver->Log);
    }

    return status;
}

/*
 * Ends whatever DriverEntry began. The framework does not call this when DriverEntry failed.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     Framework: the framework's driver object.
 * Returns: nothing.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdfdriver/nc-wdfdriver-evt_wdf_driver_unload
 */
_Use_decl_annotations_
VOID
HpnEvtDriverUnload(
    WDFDRIVER Framework
    )
{
    PHPN_DRIVER driver = HpnDriverOf(Framework);
    ULONG64 enter;

    PAGED_CODE();

    enter = HpnLogCallEnter(&driver->Log, "unload", 0, 0, "", NULL);
    HpnRegistrationsEnd(driver);
    HpnLogCallExit(&driver->Log, enter, "unload", STATUS_SUCCESS, 0, NULL);
    HpnLogClose(&driver->Log);
}
