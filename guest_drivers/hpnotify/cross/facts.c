/* SPDX-License-Identifier: MIT */
/*
 * The facts of KMDF 1.15's binary interface on x64, for the part that hpnotify uses. Compiled in every build against
 * whichever wdf.h the build uses: the project's own, or Microsoft's when KMDF_INC is given. A build against one proves
 * the same of it as a build against the other, so both being accepted means that they agree.
 */
#include <ntddk.h>
#include <wdf.h>

#define SIZE(Type, Bytes) C_ASSERT(sizeof(Type) == (Bytes));
#define AT(Type, Field, Offset) C_ASSERT(FIELD_OFFSET(Type, Field) == (Offset));
#define WIDE(Type, Field, Bytes) C_ASSERT(sizeof(((Type *)0)->Field) == (Bytes));
#define VALUE(Name, Number) C_ASSERT((Name) == (Number));
#define INDEX(Function, Number) C_ASSERT(Function##TableIndex == (Number));

INDEX(WdfControlDeviceInitAllocate, 25)
INDEX(WdfControlFinishInitializing, 27)
INDEX(WdfDeviceWdmDispatchPreprocessedIrp, 34)
INDEX(WdfDeviceInitFree, 54)
INDEX(WdfDeviceInitSetPnpPowerEventCallbacks, 55)
INDEX(WdfDeviceInitAssignName, 67)
INDEX(WdfDeviceInitAssignWdmIrpPreprocessCallback, 73)
INDEX(WdfDeviceCreate, 75)
INDEX(WdfDeviceCreateSymbolicLink, 80)
INDEX(WdfDriverCreate, 116)
INDEX(WdfDriverGetRegistryPath, 117)
INDEX(WdfDriverWdmGetDriverObject, 118)
INDEX(WdfDriverOpenParametersRegistryKey, 119)
INDEX(WdfFdoInitQueryProperty, 126)
INDEX(WdfIoQueueCreate, 152)
INDEX(WdfIoQueueGetDevice, 157)
INDEX(WdfMemoryCreate, 192)
INDEX(WdfObjectGetTypedContextWorker, 202)
INDEX(WdfObjectDelete, 208)
INDEX(WdfRegistryCreateKey, 230)
INDEX(WdfRegistryClose, 231)
INDEX(WdfRegistryQueryValue, 235)
INDEX(WdfRegistryQueryULong, 240)
INDEX(WdfRegistryAssignValue, 241)
INDEX(WdfRequestCompleteWithInformation, 265)
INDEX(WdfRequestRetrieveInputBuffer, 269)
INDEX(WdfRequestRetrieveOutputBuffer, 270)
VALUE(WdfFunctionTableNumEntries, 444)

SIZE(WDF_DRIVER_GLOBALS, 56)
AT(WDF_DRIVER_GLOBALS, Driver, 0)
AT(WDF_DRIVER_GLOBALS, DriverFlags, 8)
AT(WDF_DRIVER_GLOBALS, DriverTag, 12)
AT(WDF_DRIVER_GLOBALS, DriverName, 16)
WIDE(WDF_DRIVER_GLOBALS, DriverName, 32)
AT(WDF_DRIVER_GLOBALS, DisplaceDriverUnload, 48)

SIZE(WDF_DRIVER_CONFIG, 32)
AT(WDF_DRIVER_CONFIG, Size, 0)
AT(WDF_DRIVER_CONFIG, EvtDriverDeviceAdd, 8)
AT(WDF_DRIVER_CONFIG, EvtDriverUnload, 16)
AT(WDF_DRIVER_CONFIG, DriverInitFlags, 24)
AT(WDF_DRIVER_CONFIG, DriverPoolTag, 28)
VALUE(WdfDriverInitNonPnpDriver, 1)
VALUE(WdfDriverInitNoDispatchOverride, 2)

SIZE(WDF_OBJECT_ATTRIBUTES, 56)
AT(WDF_OBJECT_ATTRIBUTES, Size, 0)
AT(WDF_OBJECT_ATTRIBUTES, EvtCleanupCallback, 8)
AT(WDF_OBJECT_ATTRIBUTES, EvtDestroyCallback, 16)
AT(WDF_OBJECT_ATTRIBUTES, ExecutionLevel, 24)
AT(WDF_OBJECT_ATTRIBUTES, SynchronizationScope, 28)
AT(WDF_OBJECT_ATTRIBUTES, ParentObject, 32)
AT(WDF_OBJECT_ATTRIBUTES, ContextSizeOverride, 40)
AT(WDF_OBJECT_ATTRIBUTES, ContextTypeInfo, 48)
VALUE(WdfExecutionLevelInheritFromParent, 1)
VALUE(WdfExecutionLevelPassive, 2)
VALUE(WdfExecutionLevelDispatch, 3)
VALUE(WdfSynchronizationScopeInheritFromParent, 1)
VALUE(WdfSynchronizationScopeDevice, 2)
VALUE(WdfSynchronizationScopeQueue, 3)
VALUE(WdfSynchronizationScopeNone, 4)

SIZE(WDF_OBJECT_CONTEXT_TYPE_INFO, 40)
AT(WDF_OBJECT_CONTEXT_TYPE_INFO, Size, 0)
AT(WDF_OBJECT_CONTEXT_TYPE_INFO, ContextName, 8)
AT(WDF_OBJECT_CONTEXT_TYPE_INFO, ContextSize, 16)
AT(WDF_OBJECT_CONTEXT_TYPE_INFO, UniqueType, 24)
AT(WDF_OBJECT_CONTEXT_TYPE_INFO, EvtDriverGetUniqueContextType, 32)

SIZE(WDF_IO_QUEUE_CONFIG, 96)
AT(WDF_IO_QUEUE_CONFIG, Size, 0)
AT(WDF_IO_QUEUE_CONFIG, DispatchType, 4)
AT(WDF_IO_QUEUE_CONFIG, PowerManaged, 8)
AT(WDF_IO_QUEUE_CONFIG, AllowZeroLengthRequests, 12)
AT(WDF_IO_QUEUE_CONFIG, DefaultQueue, 13)
AT(WDF_IO_QUEUE_CONFIG, EvtIoDefault, 16)
AT(WDF_IO_QUEUE_CONFIG, EvtIoRead, 24)
AT(WDF_IO_QUEUE_CONFIG, EvtIoWrite, 32)
AT(WDF_IO_QUEUE_CONFIG, EvtIoDeviceControl, 40)
AT(WDF_IO_QUEUE_CONFIG, EvtIoInternalDeviceControl, 48)
AT(WDF_IO_QUEUE_CONFIG, EvtIoStop, 56)
AT(WDF_IO_QUEUE_CONFIG, EvtIoResume, 64)
AT(WDF_IO_QUEUE_CONFIG, EvtIoCanceledOnQueue, 72)
AT(WDF_IO_QUEUE_CONFIG, Settings.Parallel.NumberOfPresentedRequests, 80)
AT(WDF_IO_QUEUE_CONFIG, Driver, 88)
VALUE(WdfFalse, 0)
VALUE(WdfTrue, 1)
VALUE(WdfUseDefault, 2)
VALUE(WdfIoQueueDispatchSequential, 1)
VALUE(WdfIoQueueDispatchParallel, 2)
VALUE(WdfIoQueueDispatchManual, 3)

SIZE(WDF_PNPPOWER_EVENT_CALLBACKS, 144)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, Size, 0)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceD0Entry, 8)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceD0EntryPostInterruptsEnabled, 16)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceD0Exit, 24)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceD0ExitPreInterruptsDisabled, 32)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDevicePrepareHardware, 40)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceReleaseHardware, 48)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceSelfManagedIoCleanup, 56)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceSelfManagedIoFlush, 64)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceSelfManagedIoInit, 72)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceSelfManagedIoSuspend, 80)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceSelfManagedIoRestart, 88)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceSurpriseRemoval, 96)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceQueryRemove, 104)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceQueryStop, 112)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceUsageNotification, 120)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceRelationsQuery, 128)
AT(WDF_PNPPOWER_EVENT_CALLBACKS, EvtDeviceUsageNotificationEx, 136)
VALUE(WdfPowerDeviceD0, 1)
VALUE(WdfPowerDeviceD3, 4)
VALUE(WdfPowerDeviceD3Final, 5)

/* Every function that the driver calls must be there with the arguments that it passes; a call that nothing executes. */
VOID
HpnFactsOfFunctions(
    _In_ WDFDRIVER Driver,
    _In_ WDFDEVICE Device,
    _In_ WDFQUEUE Queue,
    _In_ WDFREQUEST Request,
    _In_ WDFKEY Key,
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PCUNICODE_STRING Text
    );

VOID
HpnFactsOfFunctions(
    _In_ WDFDRIVER Driver,
    _In_ WDFDEVICE Device,
    _In_ WDFQUEUE Queue,
    _In_ WDFREQUEST Request,
    _In_ WDFKEY Key,
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PCUNICODE_STRING Text
    )
{
    WDF_DRIVER_CONFIG config;
    WDF_OBJECT_ATTRIBUTES attributes;
    WDF_IO_QUEUE_CONFIG queueConfig;
    WDF_PNPPOWER_EVENT_CALLBACKS callbacks;
    EVT_WDFDEVICE_WDM_IRP_PREPROCESS *preprocess = NULL;
    UCHAR minor = IRP_MN_START_DEVICE;
    PIRP irp = NULL;
    PWDFDEVICE_INIT initialize;
    WDFMEMORY memory;
    PVOID buffer;
    size_t length;
    ULONG value;
    NTSTATUS status;

    WDF_DRIVER_CONFIG_INIT(&config, WDF_NO_EVENT_CALLBACK);
    WDF_OBJECT_ATTRIBUTES_INIT(&attributes);
    WDF_IO_QUEUE_CONFIG_INIT_DEFAULT_QUEUE(&queueConfig, WdfIoQueueDispatchSequential);
    status = WdfDriverCreate(DriverObject, Text, &attributes, &config, &Driver);
    DriverObject = WdfDriverWdmGetDriverObject(Driver);
    buffer = WdfDriverGetRegistryPath(Driver);
    status |= WdfDriverOpenParametersRegistryKey(Driver, KEY_READ, &attributes, &Key);
    status |= WdfMemoryCreate(&attributes, NonPagedPoolNx, 1, length = 1, &memory, &buffer);
    status |= WdfRegistryCreateKey(NULL, Text, KEY_READ, REG_OPTION_VOLATILE, &value, &attributes, &Key);
    status |= WdfRegistryQueryValue(Key, Text, sizeof(value), &value, &value, &value);
    status |= WdfRegistryQueryULong(Key, Text, &value);
    status |= WdfRegistryAssignValue(Key, Text, REG_BINARY, sizeof(value), &value);
    WdfRegistryClose(Key);
    initialize = WdfControlDeviceInitAllocate(Driver, Text);
    status |= WdfDeviceInitAssignName(initialize, Text);
    status |= WdfDeviceCreate(&initialize, &attributes, &Device);
    WDF_PNPPOWER_EVENT_CALLBACKS_INIT(&callbacks);
    WdfDeviceInitSetPnpPowerEventCallbacks(initialize, &callbacks);
    status |= WdfDeviceInitAssignWdmIrpPreprocessCallback(initialize, preprocess, IRP_MJ_PNP, &minor, sizeof(minor));
    status |= WdfFdoInitQueryProperty(initialize, DevicePropertyHardwareID, sizeof(value), &value, &value);
    status |= WdfDeviceWdmDispatchPreprocessedIrp(Device, irp);
    WdfDeviceInitFree(initialize);
    status |= WdfDeviceCreateSymbolicLink(Device, Text);
    status |= WdfIoQueueCreate(Device, &queueConfig, &attributes, &Queue);
    Device = WdfIoQueueGetDevice(Queue);
    WdfControlFinishInitializing(Device);
    status |= WdfRequestRetrieveInputBuffer(Request, length, &buffer, &length);
    status |= WdfRequestRetrieveOutputBuffer(Request, length, &buffer, &length);
    WdfRequestCompleteWithInformation(Request, status, length);
    WdfObjectDelete(Device);
}
