/* SPDX-License-Identifier: MIT */
/* How a driver binds to the framework's loader, WDFLDR.SYS. No header of the WDK declares this: WdfDriverEntry.lib does it. */
#ifndef CROSS_BIND_H
#define CROSS_BIND_H

#include <ntddk.h>
#include <wdf.h>

typedef struct _WDF_VERSION {
    ULONG Major;
    ULONG Minor;
    ULONG Build;
} WDF_VERSION;

typedef struct _WDF_BIND_INFO {
    ULONG Size;
    PCWSTR Component;
    WDF_VERSION Version;
    ULONG FuncCount;
    const WDFFUNC **FuncTable;
    PVOID Module;
} WDF_BIND_INFO, *PWDF_BIND_INFO;

C_ASSERT(sizeof(WDF_BIND_INFO) == 48);
C_ASSERT(FIELD_OFFSET(WDF_BIND_INFO, Component) == 8);
C_ASSERT(FIELD_OFFSET(WDF_BIND_INFO, Version) == 16);
C_ASSERT(FIELD_OFFSET(WDF_BIND_INFO, FuncCount) == 28);
C_ASSERT(FIELD_OFFSET(WDF_BIND_INFO, FuncTable) == 32);
C_ASSERT(FIELD_OFFSET(WDF_BIND_INFO, Module) == 40);

NTSTATUS
NTAPI
WdfVersionBind(
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PUNICODE_STRING RegistryPath,
    _Inout_ PWDF_BIND_INFO BindInfo,
    _Out_ PWDF_DRIVER_GLOBALS *ComponentGlobals
    );

NTSTATUS
NTAPI
WdfVersionUnbind(
    _In_ PUNICODE_STRING RegistryPath,
    _In_ PWDF_BIND_INFO BindInfo,
    _In_ PWDF_DRIVER_GLOBALS ComponentGlobals
    );

#endif
