/* SPDX-License-Identifier: MIT */
/*
 * Everything that our KMDF declarations and Microsoft's must agree on, as one array of numbers. compare.sh compiles
 * it against each and compares the bytes.
 */
#include <ntddk.h>
#include <wdf.h>

#define AT(Type, Field) FIELD_OFFSET(Type, Field), sizeof(((Type *)0)->Field)

const ULONG64 Values[] = {
    WdfFunctionTableNumEntries,
    WdfControlDeviceInitAllocateTableIndex,
    WdfControlFinishInitializingTableIndex,
    WdfDeviceInitFreeTableIndex,
    WdfDeviceInitAssignNameTableIndex,
    WdfDeviceCreateTableIndex,
    WdfDeviceCreateSymbolicLinkTableIndex,
    WdfDriverCreateTableIndex,
    WdfDriverGetRegistryPathTableIndex,
    WdfDriverWdmGetDriverObjectTableIndex,
    WdfDriverOpenParametersRegistryKeyTableIndex,
    WdfIoQueueCreateTableIndex,
    WdfIoQueueGetDeviceTableIndex,
    WdfMemoryCreateTableIndex,
    WdfObjectGetTypedContextWorkerTableIndex,
    WdfObjectDeleteTableIndex,
    WdfRegistryCreateKeyTableIndex,
    WdfRegistryCloseTableIndex,
    WdfRegistryQueryValueTableIndex,
    WdfRegistryQueryULongTableIndex,
    WdfRegistryAssignValueTableIndex,
    WdfRequestCompleteWithInformationTableIndex,
    WdfRequestRetrieveInputBufferTableIndex,
    WdfRequestRetrieveOutputBufferTableIndex,

    sizeof(WDF_DRIVER_GLOBALS),
    AT(WDF_DRIVER_GLOBALS, Driver),
    AT(WDF_DRIVER_GLOBALS, DriverFlags),
    AT(WDF_DRIVER_GLOBALS, DriverTag),
    AT(WDF_DRIVER_GLOBALS, DriverName),
    AT(WDF_DRIVER_GLOBALS, DisplaceDriverUnload),

    sizeof(WDF_OBJECT_CONTEXT_TYPE_INFO),
    AT(WDF_OBJECT_CONTEXT_TYPE_INFO, Size),
    AT(WDF_OBJECT_CONTEXT_TYPE_INFO, ContextName),
    AT(WDF_OBJECT_CONTEXT_TYPE_INFO, ContextSize),
    AT(WDF_OBJECT_CONTEXT_TYPE_INFO, UniqueType),
    AT(WDF_OBJECT_CONTEXT_TYPE_INFO, EvtDriverGetUniqueContextType),

    sizeof(WDF_OBJECT_ATTRIBUTES),
    AT(WDF_OBJECT_ATTRIBUTES, Size),
    AT(WDF_OBJECT_ATTRIBUTES, EvtCleanupCallback),
    AT(WDF_OBJECT_ATTRIBUTES, EvtDestroyCallback),
    AT(WDF_OBJECT_ATTRIBUTES, ExecutionLevel),
    AT(WDF_OBJECT_ATTRIBUTES, SynchronizationScope),
    AT(WDF_OBJECT_ATTRIBUTES, ParentObject),
    AT(WDF_OBJECT_ATTRIBUTES, ContextSizeOverride),
    AT(WDF_OBJECT_ATTRIBUTES, ContextTypeInfo),

    sizeof(WDF_DRIVER_CONFIG),
    AT(WDF_DRIVER_CONFIG, Size),
    AT(WDF_DRIVER_CONFIG, EvtDriverDeviceAdd),
    AT(WDF_DRIVER_CONFIG, EvtDriverUnload),
    AT(WDF_DRIVER_CONFIG, DriverInitFlags),
    AT(WDF_DRIVER_CONFIG, DriverPoolTag),

    sizeof(WDF_IO_QUEUE_CONFIG),
    AT(WDF_IO_QUEUE_CONFIG, Size),
    AT(WDF_IO_QUEUE_CONFIG, DispatchType),
    AT(WDF_IO_QUEUE_CONFIG, PowerManaged),
    AT(WDF_IO_QUEUE_CONFIG, AllowZeroLengthRequests),
    AT(WDF_IO_QUEUE_CONFIG, DefaultQueue),
    AT(WDF_IO_QUEUE_CONFIG, EvtIoDefault),
    AT(WDF_IO_QUEUE_CONFIG, EvtIoRead),
    AT(WDF_IO_QUEUE_CONFIG, EvtIoWrite),
    AT(WDF_IO_QUEUE_CONFIG, EvtIoDeviceControl),
    AT(WDF_IO_QUEUE_CONFIG, EvtIoInternalDeviceControl),
    AT(WDF_IO_QUEUE_CONFIG, EvtIoStop),
    AT(WDF_IO_QUEUE_CONFIG, EvtIoResume),
    AT(WDF_IO_QUEUE_CONFIG, EvtIoCanceledOnQueue),
    AT(WDF_IO_QUEUE_CONFIG, Driver),

    WdfExecutionLevelInheritFromParent,
    WdfExecutionLevelPassive,
    WdfSynchronizationScopeInheritFromParent,
    WdfUseDefault,
    WdfIoQueueDispatchSequential,
    WdfDriverInitNonPnpDriver,
};
