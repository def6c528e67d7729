/* SPDX-License-Identifier: MIT */
/*
 * The part of the Kernel-Mode Driver Framework 1.15 that hpnotify uses, declared by this project, for all hosts of the
 * driver: types, values, structures and functions, as the framework's binary interface has them. Sizes and offsets are
 * written down once more in cross/facts.c, which compares them in every cross build.
 *
 * A host's wdf.h says how a function is called, and then includes this file:
 *
 *   WDF_FUNCTION(Result, Name, Parameters, Names)   Parameters and Names are lists in parentheses: the declared
 *                                                   parameters, and their names; a macro cannot take a list apart
 */
#ifndef KMDF_WDF_CORE_H
#define KMDF_WDF_CORE_H

#ifndef WDF_FUNCTION
#error "include wdf.h"
#endif

#define WDF_REMOVE_PARENTHESES(...) __VA_ARGS__

/* A function whose status must not be ignored. */
#define WDF_INSPECTED_FUNCTION(Name, Parameters, Names) \
    WDF_FUNCTION(_Must_inspect_result_ NTSTATUS, Name, Parameters, Names)

/* Objects. */

typedef VOID EVT_WDF_OBJECT_CONTEXT_CLEANUP(_In_ WDFOBJECT Object);
typedef VOID EVT_WDF_OBJECT_CONTEXT_DESTROY(_In_ WDFOBJECT Object);

typedef enum _WDF_EXECUTION_LEVEL {
    WdfExecutionLevelInvalid = 0,
    WdfExecutionLevelInheritFromParent,
    WdfExecutionLevelPassive,
    WdfExecutionLevelDispatch
} WDF_EXECUTION_LEVEL;

typedef enum _WDF_SYNCHRONIZATION_SCOPE {
    WdfSynchronizationScopeInvalid = 0,
    WdfSynchronizationScopeInheritFromParent,
    WdfSynchronizationScopeDevice,
    WdfSynchronizationScopeQueue,
    WdfSynchronizationScopeNone
} WDF_SYNCHRONIZATION_SCOPE;

typedef const struct _WDF_OBJECT_CONTEXT_TYPE_INFO *PCWDF_OBJECT_CONTEXT_TYPE_INFO;

typedef PCWDF_OBJECT_CONTEXT_TYPE_INFO (*PFN_GET_UNIQUE_CONTEXT_TYPE)(VOID);

typedef struct _WDF_OBJECT_CONTEXT_TYPE_INFO {
    ULONG Size;
    PCHAR ContextName;
    size_t ContextSize;
    /* Identifies the type: points to the structure itself unless a class extension shares it. */
    PCWDF_OBJECT_CONTEXT_TYPE_INFO UniqueType;
    PFN_GET_UNIQUE_CONTEXT_TYPE EvtDriverGetUniqueContextType;
} WDF_OBJECT_CONTEXT_TYPE_INFO;

typedef struct _WDF_OBJECT_ATTRIBUTES {
    ULONG Size;
    EVT_WDF_OBJECT_CONTEXT_CLEANUP *EvtCleanupCallback;
    EVT_WDF_OBJECT_CONTEXT_DESTROY *EvtDestroyCallback;
    WDF_EXECUTION_LEVEL ExecutionLevel;
    WDF_SYNCHRONIZATION_SCOPE SynchronizationScope;
    WDFOBJECT ParentObject;
    size_t ContextSizeOverride;
    PCWDF_OBJECT_CONTEXT_TYPE_INFO ContextTypeInfo;
} WDF_OBJECT_ATTRIBUTES, *PWDF_OBJECT_ATTRIBUTES;

FORCEINLINE
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

#define WDF_TYPE_INFO(Type) WDF_##Type##_TYPE_INFO

#define WDF_OBJECT_ATTRIBUTES_INIT_CONTEXT_TYPE(Attributes, Type) \
    (WDF_OBJECT_ATTRIBUTES_INIT(Attributes), (VOID)((Attributes)->ContextTypeInfo = WDF_TYPE_INFO(Type).UniqueType))

WDF_FUNCTION(
    PVOID, WdfObjectGetTypedContextWorker, (_In_ WDFOBJECT Handle, _In_ PCWDF_OBJECT_CONTEXT_TYPE_INFO TypeInfo),
    (Handle, TypeInfo))
WDF_FUNCTION(VOID, WdfObjectDelete, (_In_ WDFOBJECT Object), (Object))

/* Selectany, not static: the address is the type's identity and must be the same in every unit. */
#define WDF_DECLARE_CONTEXT_TYPE_WITH_NAME(Type, Function) \
    const WDF_OBJECT_CONTEXT_TYPE_INFO DECLSPEC_SELECTANY WDF_TYPE_INFO(Type) = { \
        sizeof(WDF_OBJECT_CONTEXT_TYPE_INFO), (PCHAR)#Type, sizeof(Type), &WDF_TYPE_INFO(Type), NULL \
    }; \
    FORCEINLINE \
    Type * \
    Function( \
        _In_ WDFOBJECT Handle \
        ) \
    { \
        return (Type *)WdfObjectGetTypedContextWorker(Handle, WDF_TYPE_INFO(Type).UniqueType); \
    }

/* Driver. */

typedef NTSTATUS EVT_WDF_DRIVER_DEVICE_ADD(_In_ WDFDRIVER Driver, _Inout_ PWDFDEVICE_INIT DeviceInit);
typedef VOID EVT_WDF_DRIVER_UNLOAD(_In_ WDFDRIVER Driver);

typedef enum _WDF_DRIVER_INIT_FLAGS {
    WdfDriverInitNonPnpDriver = 0x00000001,
    WdfDriverInitNoDispatchOverride = 0x00000002
} WDF_DRIVER_INIT_FLAGS;

typedef struct _WDF_DRIVER_CONFIG {
    ULONG Size;
    EVT_WDF_DRIVER_DEVICE_ADD *EvtDriverDeviceAdd;
    EVT_WDF_DRIVER_UNLOAD *EvtDriverUnload;
    ULONG DriverInitFlags;
    ULONG DriverPoolTag;
} WDF_DRIVER_CONFIG, *PWDF_DRIVER_CONFIG;

FORCEINLINE
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

WDF_INSPECTED_FUNCTION(
    WdfDriverCreate,
    (_In_ PDRIVER_OBJECT DriverObject, _In_ PCUNICODE_STRING RegistryPath,
     _In_opt_ PWDF_OBJECT_ATTRIBUTES DriverAttributes, _In_ PWDF_DRIVER_CONFIG DriverConfig,
     _Out_opt_ WDFDRIVER *Driver),
    (DriverObject, RegistryPath, DriverAttributes, DriverConfig, Driver))
WDF_FUNCTION(PDRIVER_OBJECT, WdfDriverWdmGetDriverObject, (_In_ WDFDRIVER Driver), (Driver))
WDF_FUNCTION(PWSTR, WdfDriverGetRegistryPath, (_In_ WDFDRIVER Driver), (Driver))
WDF_INSPECTED_FUNCTION(
    WdfDriverOpenParametersRegistryKey,
    (_In_ WDFDRIVER Driver, _In_ ACCESS_MASK DesiredAccess, _In_opt_ PWDF_OBJECT_ATTRIBUTES KeyAttributes,
     _Out_ WDFKEY *Key),
    (Driver, DesiredAccess, KeyAttributes, Key))

/* Memory. */

WDF_INSPECTED_FUNCTION(
    WdfMemoryCreate,
    (_In_opt_ PWDF_OBJECT_ATTRIBUTES Attributes, _In_ POOL_TYPE PoolType, _In_ ULONG PoolTag, _In_ size_t BufferSize,
     _Out_ WDFMEMORY *Memory, _Outptr_ PVOID *Buffer),
    (Attributes, PoolType, PoolTag, BufferSize, Memory, Buffer))

/* Registry. */

WDF_INSPECTED_FUNCTION(
    WdfRegistryCreateKey,
    (_In_opt_ WDFKEY ParentKey, _In_ PCUNICODE_STRING KeyName, _In_ ACCESS_MASK DesiredAccess,
     _In_ ULONG CreateOptions, _Out_opt_ PULONG CreateDisposition, _In_opt_ PWDF_OBJECT_ATTRIBUTES KeyAttributes,
     _Out_ WDFKEY *Key),
    (ParentKey, KeyName, DesiredAccess, CreateOptions, CreateDisposition, KeyAttributes, Key))
WDF_INSPECTED_FUNCTION(
    WdfRegistryQueryValue,
    (_In_ WDFKEY Key, _In_ PCUNICODE_STRING ValueName, _In_ ULONG ValueLength,
     _Out_writes_bytes_opt_(ValueLength) PVOID Value, _Out_opt_ PULONG ValueLengthQueried,
     _Out_opt_ PULONG ValueType),
    (Key, ValueName, ValueLength, Value, ValueLengthQueried, ValueType))
WDF_INSPECTED_FUNCTION(
    WdfRegistryQueryULong, (_In_ WDFKEY Key, _In_ PCUNICODE_STRING ValueName, _Out_ PULONG Value),
    (Key, ValueName, Value))
WDF_FUNCTION(
    NTSTATUS, WdfRegistryAssignValue,
    (_In_ WDFKEY Key, _In_ PCUNICODE_STRING ValueName, _In_ ULONG ValueType, _In_ ULONG ValueLength,
     _In_reads_(ValueLength) PVOID Value),
    (Key, ValueName, ValueType, ValueLength, Value))
WDF_FUNCTION(VOID, WdfRegistryClose, (_In_ WDFKEY Key), (Key))

/* Control device, queue, requests. */

WDF_FUNCTION(
    PWDFDEVICE_INIT, WdfControlDeviceInitAllocate, (_In_ WDFDRIVER Driver, _In_ const UNICODE_STRING *SDDLString),
    (Driver, SDDLString))
WDF_FUNCTION(VOID, WdfControlFinishInitializing, (_In_ WDFDEVICE Device), (Device))
WDF_FUNCTION(VOID, WdfDeviceInitFree, (_In_ PWDFDEVICE_INIT DeviceInit), (DeviceInit))
WDF_INSPECTED_FUNCTION(
    WdfDeviceInitAssignName, (_In_ PWDFDEVICE_INIT DeviceInit, _In_opt_ PCUNICODE_STRING DeviceName),
    (DeviceInit, DeviceName))
WDF_INSPECTED_FUNCTION(
    WdfDeviceCreate,
    (_Inout_ PWDFDEVICE_INIT *DeviceInit, _In_opt_ PWDF_OBJECT_ATTRIBUTES DeviceAttributes, _Out_ WDFDEVICE *Device),
    (DeviceInit, DeviceAttributes, Device))
WDF_INSPECTED_FUNCTION(
    WdfDeviceCreateSymbolicLink, (_In_ WDFDEVICE Device, _In_ PCUNICODE_STRING SymbolicLinkName),
    (Device, SymbolicLinkName))

/* Devices of a Plug and Play driver. */

typedef enum _WDF_POWER_DEVICE_STATE {
    WdfPowerDeviceInvalid = 0,
    WdfPowerDeviceD0,
    WdfPowerDeviceD1,
    WdfPowerDeviceD2,
    WdfPowerDeviceD3,
    WdfPowerDeviceD3Final,
    WdfPowerDevicePrepareForHibernation,
    WdfPowerDeviceMaximum
} WDF_POWER_DEVICE_STATE, *PWDF_POWER_DEVICE_STATE;

typedef NTSTATUS EVT_WDF_DEVICE_D0_ENTRY(_In_ WDFDEVICE Device, _In_ WDF_POWER_DEVICE_STATE PreviousState);
typedef NTSTATUS EVT_WDF_DEVICE_D0_EXIT(_In_ WDFDEVICE Device, _In_ WDF_POWER_DEVICE_STATE TargetState);
typedef NTSTATUS EVT_WDF_DEVICE_PREPARE_HARDWARE(
    _In_ WDFDEVICE Device, _In_ WDFCMRESLIST ResourcesRaw, _In_ WDFCMRESLIST ResourcesTranslated);
typedef NTSTATUS EVT_WDF_DEVICE_RELEASE_HARDWARE(_In_ WDFDEVICE Device, _In_ WDFCMRESLIST ResourcesTranslated);
typedef VOID EVT_WDF_DEVICE_SELF_MANAGED_IO_CLEANUP(_In_ WDFDEVICE Device);
typedef NTSTATUS EVT_WDF_DEVICE_SELF_MANAGED_IO_INIT(_In_ WDFDEVICE Device);
typedef NTSTATUS EVT_WDF_DEVICE_SELF_MANAGED_IO_SUSPEND(_In_ WDFDEVICE Device);
typedef NTSTATUS EVT_WDF_DEVICE_SELF_MANAGED_IO_RESTART(_In_ WDFDEVICE Device);

typedef struct _WDF_PNPPOWER_EVENT_CALLBACKS {
    ULONG Size;
    EVT_WDF_DEVICE_D0_ENTRY *EvtDeviceD0Entry;
    WDFFUNC EvtDeviceD0EntryPostInterruptsEnabled;
    EVT_WDF_DEVICE_D0_EXIT *EvtDeviceD0Exit;
    WDFFUNC EvtDeviceD0ExitPreInterruptsDisabled;
    EVT_WDF_DEVICE_PREPARE_HARDWARE *EvtDevicePrepareHardware;
    EVT_WDF_DEVICE_RELEASE_HARDWARE *EvtDeviceReleaseHardware;
    EVT_WDF_DEVICE_SELF_MANAGED_IO_CLEANUP *EvtDeviceSelfManagedIoCleanup;
    WDFFUNC EvtDeviceSelfManagedIoFlush;
    EVT_WDF_DEVICE_SELF_MANAGED_IO_INIT *EvtDeviceSelfManagedIoInit;
    EVT_WDF_DEVICE_SELF_MANAGED_IO_SUSPEND *EvtDeviceSelfManagedIoSuspend;
    EVT_WDF_DEVICE_SELF_MANAGED_IO_RESTART *EvtDeviceSelfManagedIoRestart;
    WDFFUNC EvtDeviceSurpriseRemoval;
    WDFFUNC EvtDeviceQueryRemove;
    WDFFUNC EvtDeviceQueryStop;
    WDFFUNC EvtDeviceUsageNotification;
    WDFFUNC EvtDeviceRelationsQuery;
    WDFFUNC EvtDeviceUsageNotificationEx;
} WDF_PNPPOWER_EVENT_CALLBACKS, *PWDF_PNPPOWER_EVENT_CALLBACKS;

FORCEINLINE
VOID
WDF_PNPPOWER_EVENT_CALLBACKS_INIT(
    _Out_ PWDF_PNPPOWER_EVENT_CALLBACKS Callbacks
    )
{
    RtlZeroMemory(Callbacks, sizeof(*Callbacks));
    Callbacks->Size = sizeof(*Callbacks);
}

typedef NTSTATUS EVT_WDFDEVICE_WDM_IRP_PREPROCESS(_In_ WDFDEVICE Device, _Inout_ PIRP Irp);

WDF_FUNCTION(
    VOID, WdfDeviceInitSetPnpPowerEventCallbacks,
    (_In_ PWDFDEVICE_INIT DeviceInit, _In_ PWDF_PNPPOWER_EVENT_CALLBACKS PnpPowerEventCallbacks),
    (DeviceInit, PnpPowerEventCallbacks))
WDF_INSPECTED_FUNCTION(
    WdfDeviceInitAssignWdmIrpPreprocessCallback,
    (_In_ PWDFDEVICE_INIT DeviceInit, _In_ EVT_WDFDEVICE_WDM_IRP_PREPROCESS *EvtDeviceWdmIrpPreprocess,
     _In_ UCHAR MajorFunction, _In_opt_ PUCHAR MinorFunctions, _In_ ULONG NumMinorFunctions),
    (DeviceInit, EvtDeviceWdmIrpPreprocess, MajorFunction, MinorFunctions, NumMinorFunctions))
WDF_INSPECTED_FUNCTION(
    WdfDeviceWdmDispatchPreprocessedIrp, (_In_ WDFDEVICE Device, _In_ PIRP Irp), (Device, Irp))
WDF_INSPECTED_FUNCTION(
    WdfFdoInitQueryProperty,
    (_In_ PWDFDEVICE_INIT DeviceInit, _In_ DEVICE_REGISTRY_PROPERTY DeviceProperty, _In_ ULONG BufferLength,
     _Out_writes_bytes_opt_(BufferLength) PVOID PropertyBuffer, _Out_ PULONG ResultLength),
    (DeviceInit, DeviceProperty, BufferLength, PropertyBuffer, ResultLength))

typedef enum _WDF_TRI_STATE {
    WdfFalse = 0,
    WdfTrue = 1,
    WdfUseDefault = 2
} WDF_TRI_STATE;

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

/* Callbacks that hpnotify does not have are declared as plain pointers to functions. */
typedef struct _WDF_IO_QUEUE_CONFIG {
    ULONG Size;
    WDF_IO_QUEUE_DISPATCH_TYPE DispatchType;
    WDF_TRI_STATE PowerManaged;
    BOOLEAN AllowZeroLengthRequests;
    BOOLEAN DefaultQueue;
    WDFFUNC EvtIoDefault;
    WDFFUNC EvtIoRead;
    WDFFUNC EvtIoWrite;
    EVT_WDF_IO_QUEUE_IO_DEVICE_CONTROL *EvtIoDeviceControl;
    WDFFUNC EvtIoInternalDeviceControl;
    WDFFUNC EvtIoStop;
    WDFFUNC EvtIoResume;
    WDFFUNC EvtIoCanceledOnQueue;
    union {
        struct {
            ULONG NumberOfPresentedRequests;
        } Parallel;
    } Settings;
    WDFDRIVER Driver;
} WDF_IO_QUEUE_CONFIG, *PWDF_IO_QUEUE_CONFIG;

FORCEINLINE
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
    if (DispatchType == WdfIoQueueDispatchParallel) {
        Config->Settings.Parallel.NumberOfPresentedRequests = (ULONG)-1;
    }
}

WDF_INSPECTED_FUNCTION(
    WdfIoQueueCreate,
    (_In_ WDFDEVICE Device, _In_ PWDF_IO_QUEUE_CONFIG Config, _In_opt_ PWDF_OBJECT_ATTRIBUTES QueueAttributes,
     _Out_opt_ WDFQUEUE *Queue),
    (Device, Config, QueueAttributes, Queue))
WDF_FUNCTION(WDFDEVICE, WdfIoQueueGetDevice, (_In_ WDFQUEUE Queue), (Queue))
WDF_INSPECTED_FUNCTION(
    WdfRequestRetrieveInputBuffer,
    (_In_ WDFREQUEST Request, _In_ size_t MinimumRequiredLength, _Outptr_ PVOID *Buffer, _Out_opt_ size_t *Length),
    (Request, MinimumRequiredLength, Buffer, Length))
WDF_INSPECTED_FUNCTION(
    WdfRequestRetrieveOutputBuffer,
    (_In_ WDFREQUEST Request, _In_ size_t MinimumRequiredSize, _Outptr_ PVOID *Buffer, _Out_opt_ size_t *Length),
    (Request, MinimumRequiredSize, Buffer, Length))
WDF_FUNCTION(
    VOID, WdfRequestCompleteWithInformation,
    (_In_ WDFREQUEST Request, _In_ NTSTATUS Status, _In_ ULONG_PTR Information), (Request, Status, Information))

#endif
