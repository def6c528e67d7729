/* SPDX-License-Identifier: MIT */
/*
 * Asynchronous notification: the arrival of processor and memory devices.
 *
 * The callback must not block, must act only on arrival, and must return STATUS_SUCCESS whatever happens. An interface
 * that exists at registration may be reported twice.
 */
#include "hpnotify.h"

#include <initguid.h>
#include <wdmguid.h>

static DRIVER_NOTIFICATION_CALLBACK_ROUTINE HpnInterfaceChange;

typedef
PPHYSICAL_MEMORY_RANGE
HPN_GET_PHYSICAL_MEMORY_RANGES(
    _In_opt_ PVOID PartitionObject,
    _In_ ULONG Flags
    );

/* Total physical memory in bytes, or 0 where the system has no documented way to ask (before Windows 10 2004). */
static
ULONG64
HpnPhysicalMemory(
    VOID
    )
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"MmGetPhysicalMemoryRangesEx2");
    HPN_GET_PHYSICAL_MEMORY_RANGES *getRanges;
    PPHYSICAL_MEMORY_RANGE ranges;
    ULONG64 total = 0;
    ULONG index;

    getRanges = (HPN_GET_PHYSICAL_MEMORY_RANGES *)(ULONG_PTR)MmGetSystemRoutineAddress(&name);
    if (getRanges == NULL) {
        return 0;
    }

    ranges = getRanges(NULL, 0);
    if (ranges == NULL) {
        return 0;
    }

    for (index = 0; ranges[index].NumberOfBytes.QuadPart != 0; index += 1) {
        total += (ULONG64)ranges[index].NumberOfBytes.QuadPart;
    }

    ExFreePool(ranges);
    return total;
}

/* Writes a GUID as {8-4-4-4-12}; Text must hold 39 characters. */
static
VOID
HpnGuidText(
    _In_ const GUID *Guid,
    _Out_writes_(39) PSTR Text
    )
{
    HPN_LINE line;
    ULONG index;

    line.Buffer = Text;
    line.Capacity = 38;
    line.Length = 0;
    HpnLineText(&line, "{");
    HpnLineHexadecimal(&line, Guid->Data1, 8);
    HpnLineText(&line, "-");
    HpnLineHexadecimal(&line, Guid->Data2, 4);
    HpnLineText(&line, "-");
    HpnLineHexadecimal(&line, Guid->Data3, 4);
    for (index = 0; index < 8; index += 1) {
        if (index == 0 || index == 2) {
            HpnLineText(&line, "-");
        }
        HpnLineHexadecimal(&line, Guid->Data4[index], 2);
    }
    HpnLineText(&line, "}");
    Text[line.Length] = '\0';
}

_Use_decl_annotations_
static
NTSTATUS
HpnInterfaceChange(
    PVOID NotificationStructure,
    PVOID Context
    )
{
    PDEVICE_INTERFACE_CHANGE_NOTIFICATION change = NotificationStructure;
    PHPN_ASYNC async = Context;
    HPN_AsyncEnter enter = { 0 };
    HPN_AsyncExit exit = { 0 };
    CHAR eventText[39];
    CHAR classText[39];

    enter.Registration = async->Id;
    enter.Version = change->Version;
    enter.Link = change->SymbolicLinkName;
    enter.Memory = HpnPhysicalMemory();

    if (IsEqualGUID(&change->Event, &GUID_DEVICE_INTERFACE_ARRIVAL)) {
        enter.Event = "arrival";
    } else if (IsEqualGUID(&change->Event, &GUID_DEVICE_INTERFACE_REMOVAL)) {
        enter.Event = "removal";
    } else {
        HpnGuidText(&change->Event, eventText);
        enter.Event = eventText;
    }

    if (IsEqualGUID(&change->InterfaceClassGuid, async->ClassGuid)) {
        enter.Class = async->Class;
    } else {
        HpnGuidText(&change->InterfaceClassGuid, classText);
        enter.Class = classText;
    }

    exit.Enter = HpnLogRecord(&async->Driver->Log, HpnRecordAsyncEnter, &enter);
    exit.Registration = async->Id;
    exit.Returned = STATUS_SUCCESS;
    HpnLogRecord(&async->Driver->Log, HpnRecordAsyncExit, &exit);
    return STATUS_SUCCESS;
}

_Use_decl_annotations_
NTSTATUS
HpnAsyncRegister(
    PHPN_DRIVER Driver,
    PHPN_ASYNC Async,
    const GUID *ClassGuid,
    PCSTR Class,
    ULONG Flags
    )
{
    NTSTATUS status;
    ULONG64 enter;

    Async->Driver = Driver;
    Async->Id = (ULONG)InterlockedIncrement(&Driver->Registrations);
    Async->ClassGuid = ClassGuid;
    Async->Class = Class;
    Async->Entry = NULL;

    enter = HpnLogCallEnter(&Driver->Log, "reg_async", Async->Id, Flags, Class, Async);
    status = IoRegisterPlugPlayNotification(
        EventCategoryDeviceInterfaceChange,
        Flags,
        (PVOID)ClassGuid,
        WdfDriverWdmGetDriverObject(Driver->Framework),
        HpnInterfaceChange,
        Async,
        &Async->Entry);
    if (!NT_SUCCESS(status)) {
        Async->Entry = NULL;
    }
    HpnLogCallExit(&Driver->Log, enter, "reg_async", status, Async->Id, Async->Entry);

    return status;
}

/* Ends a registration; no callback runs once this has returned. Does nothing if there is none. */
_Use_decl_annotations_
VOID
HpnAsyncUnregister(
    PHPN_ASYNC Async
    )
{
    NTSTATUS status;
    ULONG64 enter;
    PVOID entry;

    entry = InterlockedExchangePointer(&Async->Entry, NULL);
    if (entry == NULL) {
        return;
    }

    enter = HpnLogCallEnter(&Async->Driver->Log, "unreg_ex", Async->Id, 0, Async->Class, NULL);
    status = IoUnregisterPlugPlayNotificationEx(entry);
    HpnLogCallExit(&Async->Driver->Log, enter, "unreg_ex", status, Async->Id, NULL);
}
