/* SPDX-License-Identifier: MIT */
/*
 * What the WDK links into a framework driver from WdfDriverEntry.lib: the image's entry point. It binds the driver to
 * the framework, which fills in the function table and the globals, runs DriverEntry, and unbinds when DriverEntry
 * fails or after the driver is unloaded.
 */
#include <ntddk.h>
#include <wdf.h>

#include "bind.h"

DRIVER_INITIALIZE DriverEntry;
DRIVER_INITIALIZE FxDriverEntry;

const WDFFUNC *WdfFunctions;
PWDF_DRIVER_GLOBALS WdfDriverGlobals;

static WDF_BIND_INFO FxBindInfo = {
    .Size = sizeof(WDF_BIND_INFO),
    .Component = L"KmdfLibrary",
    .Version = { 1, 15, 0 },
    .FuncCount = WdfFunctionTableNumEntries,
    .FuncTable = &WdfFunctions,
};

/* The registry path that the system gave belongs to it and is gone when the driver is unloaded. */
static WCHAR FxRegistryPathBuffer[260];
static UNICODE_STRING FxRegistryPath = { 0, sizeof(FxRegistryPathBuffer), FxRegistryPathBuffer };

static PDRIVER_UNLOAD FxFrameworkUnload;
static DRIVER_UNLOAD FxDriverUnload;

static
VOID
FxDriverUnload(
    _In_ PDRIVER_OBJECT DriverObject
    )
{
    if (FxFrameworkUnload != NULL) {
        FxFrameworkUnload(DriverObject);
    }
    WdfVersionUnbind(&FxRegistryPath, &FxBindInfo, WdfDriverGlobals);
}

NTSTATUS
NTAPI
FxDriverEntry(
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PUNICODE_STRING RegistryPath
    )
{
    NTSTATUS status;

    /* Copies as much as fits; the framework only looks at the path to name the driver in its log. */
    RtlCopyUnicodeString(&FxRegistryPath, RegistryPath);

    status = WdfVersionBind(DriverObject, &FxRegistryPath, &FxBindInfo, &WdfDriverGlobals);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    status = DriverEntry(DriverObject, RegistryPath);
    if (!NT_SUCCESS(status)) {
        WdfVersionUnbind(&FxRegistryPath, &FxBindInfo, WdfDriverGlobals);
        return status;
    }

    if (WdfDriverGlobals->DisplaceDriverUnload) {
        FxFrameworkUnload = DriverObject->DriverUnload;
        DriverObject->DriverUnload = FxDriverUnload;
    }
    return status;
}
