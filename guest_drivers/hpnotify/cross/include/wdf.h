/* SPDX-License-Identifier: MIT */
/*
 * The part of KMDF 1.15 that hpnotify uses, declared by this project for a build without Microsoft's headers: the
 * layouts that cross the border and the numbers of the functions in the table that WdfVersionBind hands out.
 * KMDF 1.15 is the version of Windows 10 1507, so that one binary serves Server 2016 and later.
 */
#ifndef CROSS_WDF_H
#define CROSS_WDF_H

#define KMDF_MAJOR_VERSION 1
#define KMDF_MINOR_VERSION 15
#define KMDF_BUILD_NUMBER 0
#define KMDF_FUNCTION_COUNT 444


#define CROSS_HANDLE(Name) typedef struct Name##__ *Name

typedef HANDLE WDFOBJECT;
CROSS_HANDLE(WDFDRIVER);
CROSS_HANDLE(WDFDEVICE);
CROSS_HANDLE(WDFQUEUE);
CROSS_HANDLE(WDFREQUEST);
CROSS_HANDLE(WDFMEMORY);
CROSS_HANDLE(WDFKEY);
typedef struct WDFDEVICE_INIT *PWDFDEVICE_INIT;

#define WDF_NO_OBJECT_ATTRIBUTES NULL
#define WDF_NO_EVENT_CALLBACK NULL

typedef struct _WDF_DRIVER_GLOBALS {
    WDFDRIVER Driver;
    ULONG DriverFlags;
    ULONG DriverTag;
    CHAR DriverName[32];
    BOOLEAN DisplaceDriverUnload;
} WDF_DRIVER_GLOBALS, *PWDF_DRIVER_GLOBALS;

typedef VOID (*WDFFUNC)(VOID);

/* Filled in by the framework when the driver is bound to it (entry.c). */
extern WDFFUNC *WdfFunctions;
extern PWDF_DRIVER_GLOBALS WdfDriverGlobals;

typedef enum _WDF_EXECUTION_LEVEL {
    WdfExecutionLevelInvalid = 0,
    WdfExecutionLevelInheritFromParent,
    WdfExecutionLevelPassive,
    WdfExecutionLevelDispatch
} WDF_EXECUTION_LEVEL;

typedef enum _WDF_SYNCHRONIZATION_SCOPE {
    WdfSynchronizationScopeInvalid = 0,
    WdfSynchronizationScopeInheritFromParent
} WDF_SYNCHRONIZATION_SCOPE;

typedef enum _WDF_TRI_STATE {
    WdfFalse = 0,
    WdfTrue = 1,
    WdfUseDefault = 2
} WDF_TRI_STATE;

typedef struct _WDF_OBJECT_CONTEXT_TYPE_INFO {
    ULONG Size;
    PCHAR ContextName;
    size_t ContextSize;
    const struct _WDF_OBJECT_CONTEXT_TYPE_INFO *UniqueType;
    PVOID EvtDriverGetUniqueContextType;
} WDF_OBJECT_CONTEXT_TYPE_INFO;

typedef const WDF_OBJECT_CONTEXT_TYPE_INFO *PCWDF_OBJECT_CONTEXT_TYPE_INFO;

typedef struct _WDF_OBJECT_ATTRIBUTES {
    ULONG Size;
    PVOID EvtCleanupCallback;
    PVOID EvtDestroyCallback;
    WDF_EXECUTION_LEVEL ExecutionLevel;
    WDF_SYNCHRONIZATION_SCOPE SynchronizationScope;
    WDFOBJECT ParentObject;
    size_t ContextSizeOverride;
    PCWDF_OBJECT_CONTEXT_TYPE_INFO ContextTypeInfo;
} WDF_OBJECT_ATTRIBUTES, *PWDF_OBJECT_ATTRIBUTES;

static inline
VOID
WDF_OBJECT_ATTRIBUTES_INIT(
    _Out_ PWDF_OBJECT_ATTRIBUTES Attributes
    )
{
    RtlZeroMemory(Attributes, sizeof(*Attributes));
    Attributes->Size = sizeof(*Attributes);
    Attributes->ExecutionLevel = WdfExecutionLevelInheritFromParent;
    Attributes->SynchronizationScope = WdfSynchronizationScopeInheritFromParent;
}

#define CROSS_TYPE_INFO(Type) _WDF_##Type##_TYPE_INFO

#define WDF_OBJECT_ATTRIBUTES_INIT_CONTEXT_TYPE(Attributes, Type) \
    (WDF_OBJECT_ATTRIBUTES_INIT(Attributes), \
     (VOID)((Attributes)->ContextTypeInfo = CROSS_TYPE_INFO(Type).UniqueType))

typedef
NTSTATUS
EVT_WDF_DRIVER_DEVICE_ADD(
    _In_ WDFDRIVER Driver,
    _Inout_ PWDFDEVICE_INIT DeviceInit
    );

typedef
VOID
EVT_WDF_DRIVER_UNLOAD(
    _In_ WDFDRIVER Driver
    );

#define WdfDriverInitNonPnpDriver 0x00000001

typedef struct _WDF_DRIVER_CONFIG {
    ULONG Size;
    EVT_WDF_DRIVER_DEVICE_ADD *EvtDriverDeviceAdd;
    EVT_WDF_DRIVER_UNLOAD *EvtDriverUnload;
    ULONG DriverInitFlags;
    ULONG DriverPoolTag;
} WDF_DRIVER_CONFIG, *PWDF_DRIVER_CONFIG;

static inline
VOID
WDF_DRIVER_CONFIG_INIT(
    _Out_ PWDF_DRIVER_CONFIG Config,
    _In_opt_ EVT_WDF_DRIVER_DEVICE_ADD *EvtDriverDeviceAdd
    )
{
    RtlZeroMemory(Config, sizeof(*Config));
    Config->Size = sizeof(*Config);
    Config->EvtDriverDeviceAdd = EvtDriverDeviceAdd;
}

typedef enum _WDF_IO_QUEUE_DISPATCH_TYPE {
    WdfIoQueueDispatchInvalid = 0,
    WdfIoQueueDispatchSequential,
    WdfIoQueueDispatchParallel,
    WdfIoQueueDispatchManual
} WDF_IO_QUEUE_DISPATCH_TYPE;

typedef
VOID
EVT_WDF_IO_QUEUE_IO_DEVICE_CONTROL(
    _In_ WDFQUEUE Queue,
    _In_ WDFREQUEST Request,
    _In_ size_t OutputBufferLength,
    _In_ size_t InputBufferLength,
    _In_ ULONG IoControlCode
    );

typedef struct _WDF_IO_QUEUE_CONFIG {
    ULONG Size;
    WDF_IO_QUEUE_DISPATCH_TYPE DispatchType;
    WDF_TRI_STATE PowerManaged;
    BOOLEAN AllowZeroLengthRequests;
    BOOLEAN DefaultQueue;
    PVOID EvtIoDefault;
    PVOID EvtIoRead;
    PVOID EvtIoWrite;
    EVT_WDF_IO_QUEUE_IO_DEVICE_CONTROL *EvtIoDeviceControl;
    PVOID EvtIoInternalDeviceControl;
    PVOID EvtIoStop;
    PVOID EvtIoResume;
    PVOID EvtIoCanceledOnQueue;
    ULONG NumberOfPresentedRequests;
    WDFDRIVER Driver;
} WDF_IO_QUEUE_CONFIG, *PWDF_IO_QUEUE_CONFIG;

static inline
VOID
WDF_IO_QUEUE_CONFIG_INIT_DEFAULT_QUEUE(
    _Out_ PWDF_IO_QUEUE_CONFIG Config,
    _In_ WDF_IO_QUEUE_DISPATCH_TYPE DispatchType
    )
{
    RtlZeroMemory(Config, sizeof(*Config));
    Config->Size = sizeof(*Config);
    Config->PowerManaged = WdfUseDefault;
    Config->DefaultQueue = TRUE;
    Config->DispatchType = DispatchType;
}

/*
 * Every function once: its result, name, place in the table, parameters and arguments. The first parameter of each is
 * the driver's globals, which callers do not see.
 */
#define CROSS_PASS(...) __VA_ARGS__

#define CROSS_FUNCTIONS(FUNCTION) \
    FUNCTION(PWDFDEVICE_INIT, WdfControlDeviceInitAllocate, 25, \
        (WDFDRIVER Driver, const UNICODE_STRING *SDDLString), (Driver, SDDLString)) \
    FUNCTION(VOID, WdfControlFinishInitializing, 27, (WDFDEVICE Device), (Device)) \
    FUNCTION(VOID, WdfDeviceInitFree, 54, (PWDFDEVICE_INIT DeviceInit), (DeviceInit)) \
    FUNCTION(NTSTATUS, WdfDeviceInitAssignName, 67, \
        (PWDFDEVICE_INIT DeviceInit, PCUNICODE_STRING DeviceName), (DeviceInit, DeviceName)) \
    FUNCTION(NTSTATUS, WdfDeviceCreate, 75, \
        (PWDFDEVICE_INIT *DeviceInit, PWDF_OBJECT_ATTRIBUTES DeviceAttributes, WDFDEVICE *Device), \
        (DeviceInit, DeviceAttributes, Device)) \
    FUNCTION(NTSTATUS, WdfDeviceCreateSymbolicLink, 80, \
        (WDFDEVICE Device, PCUNICODE_STRING SymbolicLinkName), (Device, SymbolicLinkName)) \
    FUNCTION(NTSTATUS, WdfDriverCreate, 116, \
        (PDRIVER_OBJECT DriverObject, PCUNICODE_STRING RegistryPath, PWDF_OBJECT_ATTRIBUTES DriverAttributes, \
         PWDF_DRIVER_CONFIG DriverConfig, WDFDRIVER *Driver), \
        (DriverObject, RegistryPath, DriverAttributes, DriverConfig, Driver)) \
    FUNCTION(PWSTR, WdfDriverGetRegistryPath, 117, (WDFDRIVER Driver), (Driver)) \
    FUNCTION(PDRIVER_OBJECT, WdfDriverWdmGetDriverObject, 118, (WDFDRIVER Driver), (Driver)) \
    FUNCTION(NTSTATUS, WdfDriverOpenParametersRegistryKey, 119, \
        (WDFDRIVER Driver, ACCESS_MASK DesiredAccess, PWDF_OBJECT_ATTRIBUTES KeyAttributes, WDFKEY *Key), \
        (Driver, DesiredAccess, KeyAttributes, Key)) \
    FUNCTION(NTSTATUS, WdfIoQueueCreate, 152, \
        (WDFDEVICE Device, PWDF_IO_QUEUE_CONFIG Config, PWDF_OBJECT_ATTRIBUTES QueueAttributes, WDFQUEUE *Queue), \
        (Device, Config, QueueAttributes, Queue)) \
    FUNCTION(WDFDEVICE, WdfIoQueueGetDevice, 157, (WDFQUEUE Queue), (Queue)) \
    FUNCTION(NTSTATUS, WdfMemoryCreate, 192, \
        (PWDF_OBJECT_ATTRIBUTES Attributes, POOL_TYPE PoolType, ULONG PoolTag, size_t BufferSize, WDFMEMORY *Memory, \
         PVOID *Buffer), \
        (Attributes, PoolType, PoolTag, BufferSize, Memory, Buffer)) \
    FUNCTION(PVOID, WdfObjectGetTypedContextWorker, 202, \
        (WDFOBJECT Handle, PCWDF_OBJECT_CONTEXT_TYPE_INFO TypeInfo), (Handle, TypeInfo)) \
    FUNCTION(VOID, WdfObjectDelete, 208, (WDFOBJECT Object), (Object)) \
    FUNCTION(NTSTATUS, WdfRegistryCreateKey, 230, \
        (WDFKEY ParentKey, PCUNICODE_STRING KeyName, ACCESS_MASK DesiredAccess, ULONG CreateOptions, \
         PULONG CreateDisposition, PWDF_OBJECT_ATTRIBUTES KeyAttributes, WDFKEY *Key), \
        (ParentKey, KeyName, DesiredAccess, CreateOptions, CreateDisposition, KeyAttributes, Key)) \
    FUNCTION(VOID, WdfRegistryClose, 231, (WDFKEY Key), (Key)) \
    FUNCTION(NTSTATUS, WdfRegistryQueryValue, 235, \
        (WDFKEY Key, PCUNICODE_STRING ValueName, ULONG ValueLength, PVOID Value, PULONG ValueLengthQueried, \
         PULONG ValueType), \
        (Key, ValueName, ValueLength, Value, ValueLengthQueried, ValueType)) \
    FUNCTION(NTSTATUS, WdfRegistryQueryULong, 240, \
        (WDFKEY Key, PCUNICODE_STRING ValueName, PULONG Value), (Key, ValueName, Value)) \
    FUNCTION(NTSTATUS, WdfRegistryAssignValue, 241, \
        (WDFKEY Key, PCUNICODE_STRING ValueName, ULONG ValueType, ULONG ValueLength, PVOID Value), \
        (Key, ValueName, ValueType, ValueLength, Value)) \
    FUNCTION(VOID, WdfRequestCompleteWithInformation, 265, \
        (WDFREQUEST Request, NTSTATUS Status, ULONG_PTR Information), (Request, Status, Information)) \
    FUNCTION(NTSTATUS, WdfRequestRetrieveInputBuffer, 269, \
        (WDFREQUEST Request, size_t MinimumRequiredLength, PVOID *Buffer, size_t *Length), \
        (Request, MinimumRequiredLength, Buffer, Length)) \
    FUNCTION(NTSTATUS, WdfRequestRetrieveOutputBuffer, 270, \
        (WDFREQUEST Request, size_t MinimumRequiredSize, PVOID *Buffer, size_t *Length), \
        (Request, MinimumRequiredSize, Buffer, Length))

#define CROSS_PLACE(Result, Name, Place, Parameters, Arguments) Name##TableIndex = Place,

enum {
    CROSS_FUNCTIONS(CROSS_PLACE)
    WdfFunctionTableNumEntries = KMDF_FUNCTION_COUNT
};

#define CROSS_DEFINE(Result, Name, Place, Parameters, Arguments) \
    static inline \
    Result \
    Name( \
        CROSS_PASS Parameters \
        ) \
    { \
        return ((Result (*)(PWDF_DRIVER_GLOBALS, CROSS_PASS Parameters))WdfFunctions[Name##TableIndex])( \
            WdfDriverGlobals, CROSS_PASS Arguments); \
    }

CROSS_FUNCTIONS(CROSS_DEFINE)

/* One unit per type: the framework knows a type by the address of its description. */
#define WDF_DECLARE_CONTEXT_TYPE_WITH_NAME(Type, Function) \
    static const WDF_OBJECT_CONTEXT_TYPE_INFO CROSS_TYPE_INFO(Type) = { \
        sizeof(WDF_OBJECT_CONTEXT_TYPE_INFO), (PCHAR)#Type, sizeof(Type), &CROSS_TYPE_INFO(Type), NULL \
    }; \
    static inline \
    Type * \
    Function( \
        _In_ WDFOBJECT Handle \
        ) \
    { \
        return (Type *)WdfObjectGetTypedContextWorker(Handle, CROSS_TYPE_INFO(Type).UniqueType); \
    }

#endif
