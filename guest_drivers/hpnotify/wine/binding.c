/* SPDX-License-Identifier: MIT */
/*
 * A double of the framework's loader, WDFLDR.SYS, for Wine: fills in the function table that the driver is bound to,
 * and leads those of its imports that Wine lacks, or whose answers a test must choose, to the NT core. The driver's
 * file is what was built and signed for Windows, byte for byte; only its import table in memory changes. Loaded as a
 * service of its own the double has a control device by which processors and memory are added.
 */
#include <ntddk.h>
#include <wdf.h>

#include "bind.h"
#include "core.h"
#include "double.h"
#include "machine.h"

#define DRIVERS 4
#define NAME_CHARACTERS 64

typedef struct _DOUBLE_NAME {
    UNICODE_STRING String;
    WCHAR Buffer[NAME_CHARACTERS];
} DOUBLE_NAME;

/* One driver that is bound. Globals come first: the driver passes their address to every call. */
typedef struct _BOUND {
    WDF_DRIVER_GLOBALS Globals;
    PDRIVER_OBJECT Driver;
    PVOID Core;
    PVOID Framework;
    PDEVICE_OBJECT Device;
    DOUBLE_NAME DeviceName;
    DOUBLE_NAME LinkName;
} BOUND;

static BOUND Drivers[DRIVERS];
static WDFFUNC Table[WdfFunctionTableNumEntries];
static LONG Threads;
static LONG Handles;
static LONG References;
static LONG Dpcs;

DRIVER_INITIALIZE DriverEntry;

static
VOID
Keep(
    _Out_ DOUBLE_NAME *Name,
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

/* Functions of the table. The first argument says which driver calls. */

static
BOUND *
Of(
    _In_ PWDF_DRIVER_GLOBALS Globals
    )
{
    return CONTAINING_RECORD(Globals, BOUND, Globals);
}

static
BOUND *
OfDevice(
    _In_ PDEVICE_OBJECT Device
    )
{
    ULONG index;

    for (index = 0; index < DRIVERS; index += 1) {
        if (Drivers[index].Device == Device) {
            return &Drivers[index];
        }
    }
    return NULL;
}

static
VOID
DeviceGone(
    _Inout_ BOUND *Bound
    )
{
    if (Bound->Device != NULL) {
        IoDeleteSymbolicLink(&Bound->LinkName.String);
        IoDeleteDevice(Bound->Device);
        Bound->Device = NULL;
    }
}

/* The framework's own unload routine, which the driver's entry point displaces and calls. */
static
VOID
NTAPI
Unload(
    _In_ PDRIVER_OBJECT DriverObject
    )
{
    ULONG index;

    for (index = 0; index < DRIVERS; index += 1) {
        if (Drivers[index].Driver == DriverObject) {
            adapter_unload(Drivers[index].Framework);
            DeviceGone(&Drivers[index]);
        }
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
    BOUND *bound = Of(Globals);
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    if (Config->Size != sizeof(*Config)) {
        double_trouble("a WDF_DRIVER_CONFIG says that it has %u bytes", (unsigned)Config->Size);
    }
    status = adapter_driver_create(
        bound->Core, CONVERTED(Attributes), Config->DriverInitFlags, (PVOID)(ULONG_PTR)Config->EvtDriverUnload,
        &bound->Framework);
    if (NT_SUCCESS(status)) {
        bound->Globals.Driver = bound->Framework;
        bound->Globals.DriverFlags |= Config->DriverInitFlags;
        bound->Globals.DisplaceDriverUnload = Config->EvtDriverUnload != NULL;
        DriverObject->DriverUnload = Unload;
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
    return Of(Globals)->Driver;
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
    UNREFERENCED_PARAMETER(DeviceInit);
    Keep(&Of(Globals)->DeviceName, DeviceName);
    return STATUS_SUCCESS;
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
    UNREFERENCED_PARAMETER(Device);
    Keep(&Of(Globals)->LinkName, SymbolicLinkName);
    return STATUS_SUCCESS;
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

static
NTSTATUS
Complete(
    _Inout_ PIRP Irp,
    _In_ NTSTATUS Status,
    _In_ ULONG_PTR Information
    )
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static
NTSTATUS
NTAPI
Open(
    _In_ PDEVICE_OBJECT Device,
    _Inout_ PIRP Irp
    )
{
    UNREFERENCED_PARAMETER(Device);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static
NTSTATUS
NTAPI
Control(
    _In_ PDEVICE_OBJECT Device,
    _Inout_ PIRP Irp
    )
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    BOUND *bound = OfDevice(Device);
    ULONG64 information = 0;
    NTSTATUS status;

    if (bound == NULL) {
        return Complete(Irp, STATUS_DEVICE_NOT_READY, 0);
    }
    status = adapter_control(
        bound->Framework, stack->Parameters.DeviceIoControl.IoControlCode, Irp->AssociatedIrp.SystemBuffer,
        stack->Parameters.DeviceIoControl.InputBufferLength, Irp->AssociatedIrp.SystemBuffer,
        stack->Parameters.DeviceIoControl.OutputBufferLength, &information);
    return Complete(Irp, status, information);
}

/* From here on the device can be opened. */
static
VOID
ControlFinishInitializing(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDEVICE Device
    )
{
    BOUND *bound = Of(Globals);
    VOID (*finish)(WDFDEVICE) = (VOID (*)(WDFDEVICE))(ULONG_PTR)adapter_framework("WdfControlFinishInitializing");
    NTSTATUS status;

    finish(Device);
    status = IoCreateDevice(
        bound->Driver, 0, &bound->DeviceName.String, FILE_DEVICE_UNKNOWN, 0, FALSE, &bound->Device);
    if (NT_SUCCESS(status)) {
        status = IoCreateSymbolicLink(&bound->LinkName.String, &bound->DeviceName.String);
    }
    if (!NT_SUCCESS(status)) {
        double_trouble("Wine made no device: %08x", (unsigned)status);
    }
    bound->Driver->MajorFunction[IRP_MJ_CREATE] = Open;
    bound->Driver->MajorFunction[IRP_MJ_CLEANUP] = Open;
    bound->Driver->MajorFunction[IRP_MJ_CLOSE] = Open;
    bound->Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
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

static
VOID
FillTable(
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
    ENTRY(DeviceInitFree);
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
}

/* Imports that are answered here: the core's own version has other storage than a driver's KDPC, or another form. */

typedef struct _DOUBLE_DPC {
    volatile LONG Queued;
    LONG Processor;
    PKDEFERRED_ROUTINE Routine;
    PVOID Context;
    PVOID Arguments[2];
} DOUBLE_DPC;

C_ASSERT(sizeof(DOUBLE_DPC) <= sizeof(KDPC));

static
VOID
NTAPI
InitializeDpc(
    PKDPC Dpc,
    PKDEFERRED_ROUTINE Routine,
    PVOID Context
    )
{
    DOUBLE_DPC *dpc = (DOUBLE_DPC *)Dpc;

    memset(dpc, 0, sizeof(*dpc));
    dpc->Processor = -1;
    dpc->Routine = Routine;
    dpc->Context = Context;
}

static
NTSTATUS
NTAPI
SetTargetProcessorDpcEx(
    PKDPC Dpc,
    PPROCESSOR_NUMBER ProcNumber
    )
{
    DOUBLE_DPC *dpc = (DOUBLE_DPC *)Dpc;
    int processor = adapter_processor(ProcNumber);

    if (processor < 0) {
        return STATUS_INVALID_PARAMETER;
    }
    dpc->Processor = processor;
    return STATUS_SUCCESS;
}

static
void
RunDpc(
    void *Context
    )
{
    DOUBLE_DPC *dpc = Context;
    unsigned old = machine_set_irql(DISPATCH_LEVEL);
    PVOID first = dpc->Arguments[0];
    PVOID second = dpc->Arguments[1];

    __atomic_store_n(&dpc->Queued, 0, __ATOMIC_SEQ_CST);
    dpc->Routine((PKDPC)dpc, dpc->Context, first, second);
    machine_set_irql(old);
    __atomic_sub_fetch(&Dpcs, 1, __ATOMIC_SEQ_CST);
}

static
BOOLEAN
NTAPI
InsertQueueDpc(
    PKDPC Dpc,
    PVOID First,
    PVOID Second
    )
{
    DOUBLE_DPC *dpc = (DOUBLE_DPC *)Dpc;

    if (__atomic_exchange_n(&dpc->Queued, 1, __ATOMIC_SEQ_CST) != 0) {
        return FALSE;
    }
    dpc->Arguments[0] = First;
    dpc->Arguments[1] = Second;
    __atomic_add_fetch(&Dpcs, 1, __ATOMIC_SEQ_CST);
    if (double_call(dpc->Processor < 0 ? machine_processor() : (unsigned)dpc->Processor, RunDpc, dpc) != 0) {
        double_trouble("no thread for a DPC");
    }
    return TRUE;
}

static
VOID
NTAPI
FlushQueuedDpcs(
    VOID
    )
{
    while (__atomic_load_n(&Dpcs, __ATOMIC_SEQ_CST) != 0) {
        machine_pause();
    }
}

static
VOID
NTAPI
SetSystemGroupAffinityThread(
    PGROUP_AFFINITY Affinity,
    PGROUP_AFFINITY Previous
    )
{
    if (Previous != NULL) {
        memset(Previous, 0, sizeof(*Previous));
    }
    adapter_bind(Affinity->Group, Affinity->Mask);
}

/* Run-down protection: holders are counted in twos, and the lowest bit says that no new one is let in. */

static
VOID
NTAPI
InitializeRundownProtection(
    PEX_RUNDOWN_REF RunRef
    )
{
    __atomic_store_n(&RunRef->Count, 0, __ATOMIC_SEQ_CST);
}

static
BOOLEAN
NTAPI
AcquireRundownProtection(
    PEX_RUNDOWN_REF RunRef
    )
{
    if (__atomic_fetch_add(&RunRef->Count, 2, __ATOMIC_SEQ_CST) & 1) {
        __atomic_fetch_sub(&RunRef->Count, 2, __ATOMIC_SEQ_CST);
        return FALSE;
    }
    return TRUE;
}

static
VOID
NTAPI
ReleaseRundownProtection(
    PEX_RUNDOWN_REF RunRef
    )
{
    __atomic_fetch_sub(&RunRef->Count, 2, __ATOMIC_SEQ_CST);
}

static
VOID
NTAPI
WaitForRundownProtectionRelease(
    PEX_RUNDOWN_REF RunRef
    )
{
    __atomic_fetch_or(&RunRef->Count, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&RunRef->Count, __ATOMIC_SEQ_CST) > 1) {
        machine_pause();
    }
}

static
KIRQL
NTAPI
AcquireSpinLockRaiseToDpc(
    PKSPIN_LOCK SpinLock
    )
{
    return (KIRQL)machine_spin_acquire(SpinLock);
}

static
NTSTATUS
NTAPI
CreateSystemThread(
    PHANDLE ThreadHandle,
    ULONG DesiredAccess,
    POBJECT_ATTRIBUTES ObjectAttributes,
    HANDLE ProcessHandle,
    PCLIENT_ID ClientId,
    PKSTART_ROUTINE StartRoutine,
    PVOID StartContext
    )
{
    NTSTATUS status;

    __atomic_add_fetch(&Threads, 1, __ATOMIC_SEQ_CST);
    status = PsCreateSystemThread(
        ThreadHandle, DesiredAccess, ObjectAttributes, ProcessHandle, ClientId, StartRoutine, StartContext);
    if (NT_SUCCESS(status)) {
        __atomic_add_fetch(&Handles, 1, __ATOMIC_SEQ_CST);
    } else {
        __atomic_sub_fetch(&Threads, 1, __ATOMIC_SEQ_CST);
    }
    return status;
}

/* Found at run time: the core has a function of this name, too. */
static
NTSTATUS
NTAPI
OpenKey(
    PHANDLE KeyHandle,
    ACCESS_MASK DesiredAccess,
    POBJECT_ATTRIBUTES ObjectAttributes
    )
{
    NTSTATUS (NTAPI *open)(PHANDLE, ACCESS_MASK, POBJECT_ATTRIBUTES);
    NTSTATUS status;

    open = (NTSTATUS (NTAPI *)(PHANDLE, ACCESS_MASK, POBJECT_ATTRIBUTES))(ULONG_PTR)double_function(
        "ntoskrnl.exe", "ZwOpenKey");
    status = open(KeyHandle, DesiredAccess, ObjectAttributes);
    if (NT_SUCCESS(status)) {
        __atomic_add_fetch(&Handles, 1, __ATOMIC_SEQ_CST);
    }
    return status;
}

static
NTSTATUS
NTAPI
CloseHandle(
    HANDLE Handle
    )
{
    __atomic_sub_fetch(&Handles, 1, __ATOMIC_SEQ_CST);
    return ZwClose(Handle);
}

static
NTSTATUS
NTAPI
ReferenceObjectByHandle(
    HANDLE Handle,
    ACCESS_MASK DesiredAccess,
    POBJECT_TYPE ObjectType,
    KPROCESSOR_MODE AccessMode,
    PVOID *Object,
    POBJECT_HANDLE_INFORMATION HandleInformation
    )
{
    NTSTATUS status;

    status = ObReferenceObjectByHandle(Handle, DesiredAccess, ObjectType, AccessMode, Object, HandleInformation);
    if (NT_SUCCESS(status)) {
        __atomic_add_fetch(&References, 1, __ATOMIC_SEQ_CST);
    }
    return status;
}

static
LONG_PTR
FASTCALL
DereferenceObject(
    PVOID Object
    )
{
    __atomic_sub_fetch(&References, 1, __ATOMIC_SEQ_CST);
    return ObfDereferenceObject(Object);
}

static
NTSTATUS
NTAPI
TerminateSystemThread(
    NTSTATUS Status
    )
{
    __atomic_sub_fetch(&Threads, 1, __ATOMIC_SEQ_CST);
    return PsTerminateSystemThread(Status);
}

static const struct {
    PCSTR Name;
    PVOID Address;
} Own[] = {
    { "ExInitializeRundownProtection", (PVOID)(ULONG_PTR)InitializeRundownProtection },
    { "ExAcquireRundownProtection", (PVOID)(ULONG_PTR)AcquireRundownProtection },
    { "ExReleaseRundownProtection", (PVOID)(ULONG_PTR)ReleaseRundownProtection },
    { "ExWaitForRundownProtectionRelease", (PVOID)(ULONG_PTR)WaitForRundownProtectionRelease },
    { "KeInitializeDpc", (PVOID)(ULONG_PTR)InitializeDpc },
    { "KeSetTargetProcessorDpcEx", (PVOID)(ULONG_PTR)SetTargetProcessorDpcEx },
    { "KeInsertQueueDpc", (PVOID)(ULONG_PTR)InsertQueueDpc },
    { "KeFlushQueuedDpcs", (PVOID)(ULONG_PTR)FlushQueuedDpcs },
    { "KeSetSystemGroupAffinityThread", (PVOID)(ULONG_PTR)SetSystemGroupAffinityThread },
    { "KeAcquireSpinLockRaiseToDpc", (PVOID)(ULONG_PTR)AcquireSpinLockRaiseToDpc },
    { "ObReferenceObjectByHandle", (PVOID)(ULONG_PTR)ReferenceObjectByHandle },
    { "ObfDereferenceObject", (PVOID)(ULONG_PTR)DereferenceObject },
    { "ZwClose", (PVOID)(ULONG_PTR)CloseHandle },
    { "ZwOpenKey", (PVOID)(ULONG_PTR)OpenKey },
    { "PsCreateSystemThread", (PVOID)(ULONG_PTR)CreateSystemThread },
    { "PsTerminateSystemThread", (PVOID)(ULONG_PTR)TerminateSystemThread },
};

static
PVOID
Redirected(
    _In_ PCSTR Name
    )
{
    ULONG index;

    for (index = 0; index < RTL_NUMBER_OF(Own); index += 1) {
        if (strcmp(Own[index].Name, Name) == 0) {
            return Own[index].Address;
        }
    }
    return adapter_redirect(Name);
}

/* Walks the import table of the image in memory. Its layout: "PE Format" (W32: Debug/pe-format.md). */
static
VOID
Redirect(
    _In_ PUCHAR Image
    )
{
    ULONG header = *(ULONG *)(Image + 0x3C);
    ULONG imports = *(ULONG *)(Image + header + 24 + 112 + 8);
    ULONG *library;
    ULONG64 *names;
    PVOID *addresses;
    PVOID own;

    for (library = (ULONG *)(Image + imports); library[3] != 0; library += 5) {
        names = (ULONG64 *)(Image + library[0]);
        addresses = (PVOID *)(Image + library[4]);
        for (; *names != 0; names += 1, addresses += 1) {
            PCSTR name = (PCSTR)(Image + *names + 2);

            own = Redirected(name);
            if (own == NULL && double_function((PCSTR)(Image + library[3]), name) == NULL) {
                double_trouble("neither Wine nor the double has %s", name);
            }
            if (own != NULL && double_writable(addresses, sizeof(*addresses), 1)) {
                *addresses = own;
                double_writable(addresses, sizeof(*addresses), 0);
            }
        }
    }
}

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
    BOUND *bound = Drivers;

    double_begin((PVOID)(ULONG_PTR)WdfVersionBind);
    if (BindInfo->Size != sizeof(*BindInfo) || BindInfo->FuncCount != WdfFunctionTableNumEntries ||
        BindInfo->Version.Major != 1 || BindInfo->Version.Minor != 15 ||
        memcmp(BindInfo->Component, L"KmdfLibrary", sizeof(L"KmdfLibrary")) != 0) {
        double_trouble("a driver asks for what the framework 1.15 is not");
        return STATUS_INVALID_PARAMETER;
    }
    while (bound < Drivers + DRIVERS && bound->Driver != NULL) {
        bound += 1;
    }
    if (bound == Drivers + DRIVERS) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    memset(bound, 0, sizeof(*bound));
    bound->Core = adapter_driver(RegistryPath->Buffer);
    if (bound->Core == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    bound->Driver = DriverObject;
    FillTable();
    Redirect(DriverObject->DriverStart);
    *BindInfo->FuncTable = Table;
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
    BOUND *bound = Of(Globals);

    UNREFERENCED_PARAMETER(RegistryPath);
    UNREFERENCED_PARAMETER(BindInfo);
    DeviceGone(bound);
    adapter_driver_gone(bound->Core);
    bound->Driver = NULL;
    return STATUS_SUCCESS;
}

/* The control device of the double: a line of text in, a status out. */

static
NTSTATUS
NTAPI
Command(
    _In_ PDEVICE_OBJECT Device,
    _Inout_ PIRP Irp
    )
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    char line[256];
    ULONG length = stack->Parameters.DeviceIoControl.InputBufferLength;

    UNREFERENCED_PARAMETER(Device);
    if (length >= sizeof(line)) {
        return Complete(Irp, STATUS_INVALID_PARAMETER, 0);
    }
    memcpy(line, Irp->AssociatedIrp.SystemBuffer, length);
    line[length] = 0;
    if (strcmp(line, "finish") != 0) {
        return Complete(Irp, double_command(line), 0);
    }

    /* The last command: with no driver bound and the core empty, whatever is still counted was left behind. */
    core_finish();
    double_say(
        "left allocations=%ld core=%u threads=%ld handles=%ld references=%ld dpcs=%ld\n", double_allocations(),
        adapter_outstanding(), Threads, Handles, References, Dpcs);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS
NTAPI
DriverEntry(
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PUNICODE_STRING RegistryPath
    )
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\hpnwine");
    UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\DosDevices\\hpnwine");
    PDEVICE_OBJECT device;
    NTSTATUS status;

    /* Wine calls the entry point of a driver that imports from kernel32 as a DLL's, too: with a reason from 0 to 3. */
    if ((ULONG_PTR)RegistryPath <= 3) {
        return TRUE;
    }

    double_begin((PVOID)(ULONG_PTR)WdfVersionBind);
    status = IoCreateDevice(DriverObject, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (NT_SUCCESS(status)) {
        status = IoCreateSymbolicLink(&link, &name);
    }
    DriverObject->MajorFunction[IRP_MJ_CREATE] = Open;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = Open;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = Open;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Command;
    return status;
}
