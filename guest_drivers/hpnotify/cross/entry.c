/* SPDX-License-Identifier: MIT */
/*
 * Where Windows enters the driver: binds it to the framework, then calls DriverEntry; on unload the other way round.
 * The WDK links the same from WdfDriverEntry.lib.
 */
#include <ntddk.h>
#include <wdf.h>

DRIVER_INITIALIZE DriverEntry;
DRIVER_INITIALIZE FxDriverEntry;

typedef struct _WDF_BIND_INFO {
    ULONG Size;
    PWCHAR Component;
    struct {
        ULONG Major;
        ULONG Minor;
        ULONG Build;
    } Version;
    ULONG FunctionCount;
    WDFFUNC **FunctionTable;
    PVOID Module;
} WDF_BIND_INFO, *PWDF_BIND_INFO;

_Static_assert(sizeof(WDF_BIND_INFO) == 48, "as the loader checks");

NTSTATUS NTAPI WdfVersionBind(PDRIVER_OBJECT, PUNICODE_STRING, PWDF_BIND_INFO, PWDF_DRIVER_GLOBALS *);
NTSTATUS NTAPI WdfVersionUnbind(PUNICODE_STRING, PWDF_BIND_INFO, PWDF_DRIVER_GLOBALS);

WDFFUNC *WdfFunctions;
PWDF_DRIVER_GLOBALS WdfDriverGlobals;

static WCHAR LibraryName[] = L"KmdfLibrary";
static WDF_BIND_INFO BindInfo = {
    sizeof(BindInfo), LibraryName, { KMDF_MAJOR_VERSION, KMDF_MINOR_VERSION, KMDF_BUILD_NUMBER }, KMDF_FUNCTION_COUNT,
    &WdfFunctions, NULL
};
static UNICODE_STRING ServicePath;
static WCHAR ServicePathBuffer[260];
static PDRIVER_UNLOAD FrameworkUnload;

/* The framework's own unload routine calls EvtDriverUnload and deletes the driver's objects. */
static
VOID
NTAPI
Unload(
    _In_ PDRIVER_OBJECT DriverObject
    )
{
    if (FrameworkUnload != NULL) {
        FrameworkUnload(DriverObject);
    }

    WdfVersionUnbind(&ServicePath, &BindInfo, WdfDriverGlobals);
}

NTSTATUS
NTAPI
FxDriverEntry(
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PUNICODE_STRING RegistryPath
    )
{
    NTSTATUS status;

    ServicePath.Buffer = ServicePathBuffer;
    ServicePath.MaximumLength = sizeof(ServicePathBuffer);
    RtlCopyUnicodeString(&ServicePath, RegistryPath);

    status = WdfVersionBind(DriverObject, &ServicePath, &BindInfo, &WdfDriverGlobals);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    status = DriverEntry(DriverObject, RegistryPath);
    if (!NT_SUCCESS(status)) {
        WdfVersionUnbind(&ServicePath, &BindInfo, WdfDriverGlobals);
        return status;
    }

    /* Only a driver that asked for it has an unload routine; without one it must not get one. */
    if (DriverObject->DriverUnload != NULL) {
        FrameworkUnload = DriverObject->DriverUnload;
        DriverObject->DriverUnload = Unload;
    }

    return STATUS_SUCCESS;
}
