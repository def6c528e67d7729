/* SPDX-License-Identifier: MIT */
/*
 * The framework's functions, as the driver finds them in the table that it is bound to. The first argument says which
 * driver calls; the work is done by the NT core's framework.
 */
#include "bound.h"

static WDFFUNC Table[WdfFunctionTableNumEntries];

static
VOID
Keep(
    _Out_ BOUND_NAME *Name,
    _In_ PCUNICODE_STRING Text
    )
{
    USHORT length = Text->Length < sizeof(Name->Buffer) ? Text->Length : 0;

    memcpy(Name->Buffer, Text->Buffer, length);
    Name->String.Buffer = Name->Buffer;
    Name->String.Length = length;
    Name->String.MaximumLength = sizeof(Name->Buffer);
}

static
const struct double_attributes *
Converted(
    _In_opt_ PWDF_OBJECT_ATTRIBUTES Given,
    _Out_ struct double_attributes *Attributes
    )
{
    if (Given == NULL) {
        return NULL;
    }
    if (Given->Size != sizeof(*Given)) {
        double_trouble("a WDF_OBJECT_ATTRIBUTES says that it has %u bytes", (unsigned)Given->Size);
    }
    Attributes->execution_level = Given->ExecutionLevel;
    Attributes->parent = Given->ParentObject;
    Attributes->type = Given->ContextTypeInfo;
    return Attributes;
}

#define CONVERTED(Given) Converted((Given), &(struct double_attributes){ 0 })

/* The framework's own unload routine, which the driver's entry point displaces and calls. */
static
VOID
NTAPI
Unload(
    _In_ PDRIVER_OBJECT DriverObject
    )
{
    BOUND *bound = BoundDriver(DriverObject);

    if (bound != NULL) {
        adapter_unload(bound->Framework);
        ControlEnd(bound);
    }
}

static
NTSTATUS
DriverCreate(
    PWDF_DRIVER_GLOBALS Globals,
    PDRIVER_OBJECT DriverObject,
    PCUNICODE_STRING RegistryPath,
    PWDF_OBJECT_ATTRIBUTES Attributes,
    PWDF_DRIVER_CONFIG Config,
    WDFDRIVER *Driver
    )
{
    BOUND *bound = BoundOf(Globals);
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    if (Config->Size != sizeof(*Config)) {
        double_trouble("a WDF_DRIVER_CONFIG says that it has %u bytes", (unsigned)Config->Size);
    }
    status = adapter_driver_create(
        bound->Core, CONVERTED(Attributes), Config->DriverInitFlags, (PVOID)(ULONG_PTR)Config->EvtDriverDeviceAdd,
        (PVOID)(ULONG_PTR)Config->EvtDriverUnload, &bound->Framework);
    if (NT_SUCCESS(status)) {
        bound->Globals.Driver = bound->Framework;
        bound->Globals.DriverFlags |= Config->DriverInitFlags;
        bound->Globals.DisplaceDriverUnload = Config->EvtDriverUnload != NULL;
        DriverObject->DriverUnload = Unload;
        if (Config->EvtDriverDeviceAdd != NULL) {
            DriverObject->DriverExtension->AddDevice = DeviceAdd;
            DriverObject->MajorFunction[IRP_MJ_PNP] = DevicePlugAndPlay;
            DriverObject->MajorFunction[IRP_MJ_POWER] = DevicePower;
        }
        *Driver = bound->Framework;
    }
    return status;
}

static
PDRIVER_OBJECT
DriverWdmGetDriverObject(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDRIVER Driver
    )
{
    UNREFERENCED_PARAMETER(Driver);
    return BoundOf(Globals)->Driver;
}

static
PCWSTR
DriverGetRegistryPath(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDRIVER Driver
    )
{
    UNREFERENCED_PARAMETER(Globals);
    return adapter_registry_path(Driver);
}

static
NTSTATUS
DriverOpenParametersRegistryKey(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDRIVER Driver,
    ACCESS_MASK DesiredAccess,
    PWDF_OBJECT_ATTRIBUTES Attributes,
    WDFKEY *Key
    )
{
    UNREFERENCED_PARAMETER(Globals);
    UNREFERENCED_PARAMETER(DesiredAccess);
    return adapter_parameters_key(Driver, CONVERTED(Attributes), (PVOID *)Key);
}

static
NTSTATUS
MemoryCreate(
    PWDF_DRIVER_GLOBALS Globals,
    PWDF_OBJECT_ATTRIBUTES Attributes,
    POOL_TYPE PoolType,
    ULONG PoolTag,
    size_t BufferSize,
    WDFMEMORY *Memory,
    PVOID *Buffer
    )
{
    UNREFERENCED_PARAMETER(Globals);
    if ((PoolType != NonPagedPoolNx && PoolType != PagedPool) || PoolTag == 0) {
        double_trouble("memory of pool type %u with tag %u", (unsigned)PoolType, (unsigned)PoolTag);
    }
    return adapter_memory(CONVERTED(Attributes), BufferSize, (PVOID *)Memory, Buffer);
}

static
NTSTATUS
RegistryCreateKey(
    PWDF_DRIVER_GLOBALS Globals,
    WDFKEY ParentKey,
    PCUNICODE_STRING KeyName,
    ACCESS_MASK DesiredAccess,
    ULONG CreateOptions,
    PULONG CreateDisposition,
    PWDF_OBJECT_ATTRIBUTES Attributes,
    WDFKEY *Key
    )
{
    UNREFERENCED_PARAMETER(Globals);
    UNREFERENCED_PARAMETER(DesiredAccess);
    UNREFERENCED_PARAMETER(CreateDisposition);
    return ParentKey != NULL ? STATUS_INVALID_PARAMETER
                             : adapter_key(KeyName, CreateOptions, CONVERTED(Attributes), (PVOID *)Key);
}

static
PWDFDEVICE_INIT
ControlDeviceInitAllocate(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDRIVER Driver,
    const UNICODE_STRING *SDDLString
    )
{
    UNREFERENCED_PARAMETER(Globals);
    if (SDDLString == NULL || SDDLString->Length == 0) {
        double_trouble("a control device without a security descriptor");
    }
    return adapter_device_init(Driver);
}

static
NTSTATUS
DeviceInitAssignName(
    PWDF_DRIVER_GLOBALS Globals,
    PWDFDEVICE_INIT DeviceInit,
    PCUNICODE_STRING DeviceName
    )
{
    NTSTATUS (*name)(PWDFDEVICE_INIT, PCUNICODE_STRING) =
        (NTSTATUS (*)(PWDFDEVICE_INIT, PCUNICODE_STRING))(ULONG_PTR)adapter_framework("WdfDeviceInitAssignName");

    Keep(&BoundOf(Globals)->DeviceName, DeviceName);
    return name(DeviceInit, DeviceName);
}

static
VOID
DeviceInitSetPnpPowerEventCallbacks(
    PWDF_DRIVER_GLOBALS Globals,
    PWDFDEVICE_INIT DeviceInit,
    PWDF_PNPPOWER_EVENT_CALLBACKS Callbacks
    )
{
    UNREFERENCED_PARAMETER(Globals);
    if (Callbacks->Size != sizeof(*Callbacks)) {
        double_trouble("a WDF_PNPPOWER_EVENT_CALLBACKS says that it has %u bytes", (unsigned)Callbacks->Size);
    }
    adapter_node_callbacks(
        DeviceInit,
        &(struct double_callbacks){
            .prepare = (PVOID)(ULONG_PTR)Callbacks->EvtDevicePrepareHardware,
            .enter_d0 = (PVOID)(ULONG_PTR)Callbacks->EvtDeviceD0Entry,
            .begin = (PVOID)(ULONG_PTR)Callbacks->EvtDeviceSelfManagedIoInit,
            .suspend = (PVOID)(ULONG_PTR)Callbacks->EvtDeviceSelfManagedIoSuspend,
            .restart = (PVOID)(ULONG_PTR)Callbacks->EvtDeviceSelfManagedIoRestart,
            .leave_d0 = (PVOID)(ULONG_PTR)Callbacks->EvtDeviceD0Exit,
            .release = (PVOID)(ULONG_PTR)Callbacks->EvtDeviceReleaseHardware,
            .end = (PVOID)(ULONG_PTR)Callbacks->EvtDeviceSelfManagedIoCleanup,
        });
}

static
NTSTATUS
DeviceInitAssignWdmIrpPreprocessCallback(
    PWDF_DRIVER_GLOBALS Globals,
    PWDFDEVICE_INIT DeviceInit,
    EVT_WDFDEVICE_WDM_IRP_PREPROCESS *EvtDeviceWdmIrpPreprocess,
    UCHAR MajorFunction,
    PUCHAR MinorFunctions,
    ULONG NumMinorFunctions
    )
{
    UNREFERENCED_PARAMETER(Globals);
    return adapter_node_preprocess(
        DeviceInit, (PVOID)(ULONG_PTR)EvtDeviceWdmIrpPreprocess, MajorFunction, MinorFunctions, NumMinorFunctions);
}

static
NTSTATUS
DeviceCreate(
    PWDF_DRIVER_GLOBALS Globals,
    PWDFDEVICE_INIT *DeviceInit,
    PWDF_OBJECT_ATTRIBUTES Attributes,
    WDFDEVICE *Device
    )
{
    UNREFERENCED_PARAMETER(Globals);
    return adapter_device((PVOID *)DeviceInit, CONVERTED(Attributes), (PVOID *)Device);
}

static
NTSTATUS
DeviceCreateSymbolicLink(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDEVICE Device,
    PCUNICODE_STRING SymbolicLinkName
    )
{
    NTSTATUS (*link)(WDFDEVICE, PCUNICODE_STRING) =
        (NTSTATUS (*)(WDFDEVICE, PCUNICODE_STRING))(ULONG_PTR)adapter_framework("WdfDeviceCreateSymbolicLink");

    Keep(&BoundOf(Globals)->LinkName, SymbolicLinkName);
    return link(Device, SymbolicLinkName);
}

static
NTSTATUS
IoQueueCreate(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDEVICE Device,
    PWDF_IO_QUEUE_CONFIG Config,
    PWDF_OBJECT_ATTRIBUTES Attributes,
    WDFQUEUE *Queue
    )
{
    UNREFERENCED_PARAMETER(Globals);
    if (Config->Size != sizeof(*Config)) {
        double_trouble("a WDF_IO_QUEUE_CONFIG says that it has %u bytes", (unsigned)Config->Size);
    }
    return adapter_queue(
        Device, Config->DispatchType, Config->DefaultQueue, (PVOID)(ULONG_PTR)Config->EvtIoDeviceControl,
        CONVERTED(Attributes), (PVOID *)Queue);
}

/* From here on the device can be opened. */
static
VOID
ControlFinishInitializing(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDEVICE Device
    )
{
    VOID (*finish)(WDFDEVICE) = (VOID (*)(WDFDEVICE))(ULONG_PTR)adapter_framework("WdfControlFinishInitializing");

    finish(Device);
    ControlBegin(BoundOf(Globals));
}

static
NTSTATUS
Missing(
    VOID
    )
{
    double_trouble("a function of the framework was called that the double does not have");
    return STATUS_NOT_IMPLEMENTED;
}

/* The core's functions take the same arguments but the globals. */
#define SHIFTED_2(Name) \
    static ULONG_PTR Name(PWDF_DRIVER_GLOBALS Globals, ULONG_PTR First, ULONG_PTR Second) \
    { \
        UNREFERENCED_PARAMETER(Globals); \
        return ((ULONG_PTR (*)(ULONG_PTR, ULONG_PTR))(ULONG_PTR)adapter_framework("Wdf" #Name))(First, Second); \
    }
#define SHIFTED_5(Name) \
    static ULONG_PTR Name( \
        PWDF_DRIVER_GLOBALS Globals, ULONG_PTR First, ULONG_PTR Second, ULONG_PTR Third, ULONG_PTR Fourth, \
        ULONG_PTR Fifth) \
    { \
        UNREFERENCED_PARAMETER(Globals); \
        return ((ULONG_PTR (*)(ULONG_PTR, ULONG_PTR, ULONG_PTR, ULONG_PTR, ULONG_PTR))(ULONG_PTR)adapter_framework( \
            "Wdf" #Name))(First, Second, Third, Fourth, Fifth); \
    }

SHIFTED_2(DeviceInitFree)
SHIFTED_2(IoQueueGetDevice)
SHIFTED_2(ObjectDelete)
SHIFTED_2(ObjectGetTypedContextWorker)
SHIFTED_2(RegistryClose)
SHIFTED_5(RegistryAssignValue)
SHIFTED_5(RegistryQueryULong)
SHIFTED_5(RequestCompleteWithInformation)
SHIFTED_5(RequestRetrieveInputBuffer)
SHIFTED_5(RequestRetrieveOutputBuffer)

static
NTSTATUS
RegistryQueryValue(
    PWDF_DRIVER_GLOBALS Globals,
    WDFKEY Key,
    PCUNICODE_STRING ValueName,
    ULONG ValueLength,
    PVOID Value,
    PULONG ValueLengthQueried,
    PULONG ValueType
    )
{
    UNREFERENCED_PARAMETER(Globals);
    return ((NTSTATUS (*)(WDFKEY, PCUNICODE_STRING, ULONG, PVOID, PULONG, PULONG))(ULONG_PTR)adapter_framework(
        "WdfRegistryQueryValue"))(Key, ValueName, ValueLength, Value, ValueLengthQueried, ValueType);
}

#define ENTRY(Name) Table[Wdf##Name##TableIndex] = (WDFFUNC)(ULONG_PTR)Name

WDFFUNC *
TableFill(
    VOID
    )
{
    ULONG index;

    for (index = 0; index < WdfFunctionTableNumEntries; index += 1) {
        Table[index] = (WDFFUNC)(ULONG_PTR)Missing;
    }
    ENTRY(ControlDeviceInitAllocate);
    ENTRY(ControlFinishInitializing);
    ENTRY(DeviceCreate);
    ENTRY(DeviceCreateSymbolicLink);
    ENTRY(DeviceInitAssignName);
    ENTRY(DeviceInitAssignWdmIrpPreprocessCallback);
    ENTRY(DeviceInitFree);
    ENTRY(DeviceInitSetPnpPowerEventCallbacks);
    Table[WdfDeviceWdmDispatchPreprocessedIrpTableIndex] = (WDFFUNC)(ULONG_PTR)DeviceDispatchPreprocessed;
    Table[WdfFdoInitQueryPropertyTableIndex] = (WDFFUNC)(ULONG_PTR)DeviceQueryProperty;
    ENTRY(DriverCreate);
    ENTRY(DriverGetRegistryPath);
    ENTRY(DriverOpenParametersRegistryKey);
    ENTRY(DriverWdmGetDriverObject);
    ENTRY(IoQueueCreate);
    ENTRY(IoQueueGetDevice);
    ENTRY(MemoryCreate);
    ENTRY(ObjectDelete);
    ENTRY(ObjectGetTypedContextWorker);
    ENTRY(RegistryAssignValue);
    ENTRY(RegistryClose);
    ENTRY(RegistryCreateKey);
    ENTRY(RegistryQueryULong);
    ENTRY(RegistryQueryValue);
    ENTRY(RequestCompleteWithInformation);
    ENTRY(RequestRetrieveInputBuffer);
    ENTRY(RequestRetrieveOutputBuffer);
    return Table;
}
