/* SPDX-License-Identifier: MIT */
/*
 * The framework's functions as a driver's image calls them: each through its entry of the table that WdfVersionBind fills
 * in, with the driver's globals as the first argument. Indices are written down once more in facts.c, which compares them
 * with this header in every build and with Microsoft's own headers when KMDF_INC says where they are.
 */
#ifndef CROSS_WDF_H
#define CROSS_WDF_H

#include <wdf_handles.h>

/* The table, and what every call passes first. */

#define WDF_DRIVER_GLOBALS_NAME_LEN 32

typedef struct _WDF_DRIVER_GLOBALS {
    WDFDRIVER Driver;
    ULONG DriverFlags;
    ULONG DriverTag;
    CHAR DriverName[WDF_DRIVER_GLOBALS_NAME_LEN];
    BOOLEAN DisplaceDriverUnload;
} WDF_DRIVER_GLOBALS, *PWDF_DRIVER_GLOBALS;

#define WdfFunctions WdfFunctions_01015

extern const WDFFUNC *WdfFunctions;
extern PWDF_DRIVER_GLOBALS WdfDriverGlobals;

typedef enum _WDFFUNCENUM {
    WdfControlDeviceInitAllocateTableIndex = 25,
    WdfControlFinishInitializingTableIndex = 27,
    WdfDeviceWdmDispatchPreprocessedIrpTableIndex = 34,
    WdfDeviceInitFreeTableIndex = 54,
    WdfDeviceInitSetPnpPowerEventCallbacksTableIndex = 55,
    WdfDeviceInitAssignNameTableIndex = 67,
    WdfDeviceInitAssignWdmIrpPreprocessCallbackTableIndex = 73,
    WdfDeviceCreateTableIndex = 75,
    WdfDeviceCreateSymbolicLinkTableIndex = 80,
    WdfDriverCreateTableIndex = 116,
    WdfDriverGetRegistryPathTableIndex = 117,
    WdfDriverWdmGetDriverObjectTableIndex = 118,
    WdfDriverOpenParametersRegistryKeyTableIndex = 119,
    WdfFdoInitQueryPropertyTableIndex = 126,
    WdfIoQueueCreateTableIndex = 152,
    WdfIoQueueGetDeviceTableIndex = 157,
    WdfMemoryCreateTableIndex = 192,
    WdfObjectGetTypedContextWorkerTableIndex = 202,
    WdfObjectDeleteTableIndex = 208,
    WdfRegistryCreateKeyTableIndex = 230,
    WdfRegistryCloseTableIndex = 231,
    WdfRegistryQueryValueTableIndex = 235,
    WdfRegistryQueryULongTableIndex = 240,
    WdfRegistryAssignValueTableIndex = 241,
    WdfRequestCompleteWithInformationTableIndex = 265,
    WdfRequestRetrieveInputBufferTableIndex = 269,
    WdfRequestRetrieveOutputBufferTableIndex = 270,
    WdfFunctionTableNumEntries = 444
} WDFFUNCENUM;

/* Defines an inline function that calls its entry of the table. */
#define WDF_FUNCTION(Result, Name, Parameters, Names) \
    FORCEINLINE \
    Result \
    Name( \
        WDF_REMOVE_PARENTHESES Parameters \
        ) \
    { \
        typedef Result (*CROSS_TYPE)(PWDF_DRIVER_GLOBALS, WDF_REMOVE_PARENTHESES Parameters); \
        return ((CROSS_TYPE)(ULONG_PTR)WdfFunctions[Name##TableIndex])(WdfDriverGlobals, WDF_REMOVE_PARENTHESES Names); \
    }

#include <wdf_core.h>

#endif
