/* SPDX-License-Identifier: MIT */
/*
 * The framework's functions, as the driver finds them in the table that it is bound to. The first argument says which
 * driver calls; the work is done by the NT core's framework.
 */
#include "bound.h"

static WDFFUNC Table[WdfFunctionTableNumEntries];

/* The core's functions, which the double's own call as a driver calls the framework's. */
static WDFFUNC Core[WdfFunctionTableNumEntries];
const WDFFUNC *WdfFunctions = Core;
PWDF_DRIVER_GLOBALS WdfDriverGlobals;

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

    status = WdfDriverCreate(bound->Core, RegistryPath, Attributes, Config, Driver);
    if (NT_SUCCESS(status)) {
        bound->Framework = *Driver;
        bound->Globals.Driver = *Driver;
        bound->Globals.DriverFlags |= Config->DriverInitFlags;
        bound->Globals.DisplaceDriverUnload = Config->EvtDriverUnload != NULL;
        DriverObject->DriverUnload = Unload;
        if (Config->EvtDriverDeviceAdd != NULL) {
            DriverObject->DriverExtension->AddDevice = DeviceAdd;
            DriverObject->MajorFunction[IRP_MJ_PNP] = DevicePlugAndPlay;
            DriverObject->MajorFunction[IRP_MJ_POWER] = DevicePower;
        }
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
    return WdfMemoryCreate(Attributes, PoolType, PoolTag, BufferSize, Memory, Buffer);
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
    return WdfControlDeviceInitAllocate(Driver, SDDLString);
}

static
NTSTATUS
DeviceInitAssignName(
    PWDF_DRIVER_GLOBALS Globals,
    PWDFDEVICE_INIT DeviceInit,
    PCUNICODE_STRING DeviceName
    )
{
    Keep(&BoundOf(Globals)->DeviceName, DeviceName);
    return WdfDeviceInitAssignName(DeviceInit, DeviceName);
}

static
NTSTATUS
DeviceCreateSymbolicLink(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDEVICE Device,
    PCUNICODE_STRING SymbolicLinkName
    )
{
    Keep(&BoundOf(Globals)->LinkName, SymbolicLinkName);
    return WdfDeviceCreateSymbolicLink(Device, SymbolicLinkName);
}

/* From here on the device can be opened. */
static
VOID
ControlFinishInitializing(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDEVICE Device
    )
{
    WdfControlFinishInitializing(Device);
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

/* The adapter has each function of the core under this name, with the globals as its first argument. */
#define CORE(Name) \
    do { \
        extern VOID CoreWdf##Name(VOID); \
        Core[Wdf##Name##TableIndex] = CoreWdf##Name; \
    } while (0)
#define OWN(Name) Table[Wdf##Name##TableIndex] = (WDFFUNC)(ULONG_PTR)Name

WDFFUNC *
TableFill(
    VOID
    )
{
    ULONG index;

    CORE(ControlDeviceInitAllocate);
    CORE(ControlFinishInitializing);
    CORE(DeviceCreate);
    CORE(DeviceCreateSymbolicLink);
    CORE(DeviceInitAssignName);
    CORE(DeviceInitAssignWdmIrpPreprocessCallback);
    CORE(DeviceInitFree);
    CORE(DeviceInitSetPnpPowerEventCallbacks);
    CORE(DriverCreate);
    CORE(DriverGetRegistryPath);
    CORE(DriverOpenParametersRegistryKey);
    CORE(IoQueueCreate);
    CORE(IoQueueGetDevice);
    CORE(MemoryCreate);
    CORE(ObjectDelete);
    CORE(ObjectGetTypedContextWorker);
    CORE(RegistryAssignValue);
    CORE(RegistryClose);
    CORE(RegistryCreateKey);
    CORE(RegistryQueryULong);
    CORE(RegistryQueryValue);
    CORE(RequestCompleteWithInformation);
    CORE(RequestRetrieveInputBuffer);
    CORE(RequestRetrieveOutputBuffer);
    for (index = 0; index < WdfFunctionTableNumEntries; index += 1) {
        Table[index] = Core[index] != NULL ? Core[index] : (WDFFUNC)(ULONG_PTR)Missing;
    }
    OWN(ControlDeviceInitAllocate);
    OWN(ControlFinishInitializing);
    OWN(DeviceCreateSymbolicLink);
    OWN(DeviceInitAssignName);
    OWN(DriverCreate);
    OWN(DriverWdmGetDriverObject);
    OWN(MemoryCreate);
    Table[WdfDeviceWdmDispatchPreprocessedIrpTableIndex] = (WDFFUNC)(ULONG_PTR)DeviceDispatchPreprocessed;
    Table[WdfFdoInitQueryPropertyTableIndex] = (WDFFUNC)(ULONG_PTR)DeviceQueryProperty;
    return Table;
}
