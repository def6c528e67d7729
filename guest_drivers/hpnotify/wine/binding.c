/* SPDX-License-Identifier: MIT */
/*
 * A double of the framework's loader, WDFLDR.SYS, for Wine: fills in the function table that the driver is bound to,
 * and binds imports that Wine lacks, or whose answers a test must choose, to the NT core. The driver's file is the one
 * built and signed for Windows, byte for byte; only its import table in memory changes. Loaded as a separate service,
 * the double has a control device for adding processors and memory.
 */
#include "bound.h"

#include "bind.h"

__declspec(dllexport)
NTSTATUS
NTAPI
WdfVersionBind(
    PDRIVER_OBJECT DriverObject,
    PUNICODE_STRING RegistryPath,
    PWDF_BIND_INFO BindInfo,
    PWDF_DRIVER_GLOBALS *ComponentGlobals
    )
{
    BOUND *bound;

    double_begin((PVOID)(ULONG_PTR)WdfVersionBind);
    if (BindInfo->Size != sizeof(*BindInfo) || BindInfo->FuncCount != WdfFunctionTableNumEntries ||
        BindInfo->Version.Major != 1 || BindInfo->Version.Minor != 15 ||
        memcmp(BindInfo->Component, L"KmdfLibrary", sizeof(L"KmdfLibrary")) != 0) {
        double_trouble("a driver asks for what the framework 1.15 is not");
        return STATUS_INVALID_PARAMETER;
    }
    bound = BoundDriver(NULL);
    if (bound == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    memset(bound, 0, sizeof(*bound));
    bound->Core = adapter_driver(RegistryPath->Buffer);
    if (bound->Core == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    bound->Driver = DriverObject;
    ImportsRedirect(DriverObject->DriverStart);
    *BindInfo->FuncTable = TableFill();
    *ComponentGlobals = &bound->Globals;
    return STATUS_SUCCESS;
}

__declspec(dllexport)
NTSTATUS
NTAPI
WdfVersionUnbind(
    PUNICODE_STRING RegistryPath,
    PWDF_BIND_INFO BindInfo,
    PWDF_DRIVER_GLOBALS Globals
    )
{
    BOUND *bound = BoundOf(Globals);

    UNREFERENCED_PARAMETER(RegistryPath);
    UNREFERENCED_PARAMETER(BindInfo);
    ControlEnd(bound);
    adapter_driver_gone(bound->Core);
    bound->Driver = NULL;
    return STATUS_SUCCESS;
}
