/* SPDX-License-Identifier: MIT */
/*
 * Asynchronous notification: the arrival of processor and memory devices.
 *
 * The callback must not block, must act only on arrival, and must return STATUS_SUCCESS whatever happens. An interface
 * that exists at registration may be reported twice.
 */
#include "async.h"

#include <initguid.h>
#include <poclass.h>
#include <wdmguid.h>

static DRIVER_NOTIFICATION_CALLBACK_ROUTINE HpnInterfaceChange;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnInterfaceChange)
#pragma alloc_text(PAGE, HpnAsyncRegister)
#pragma alloc_text(PAGE, HpnAsyncUnregister)
#endif

/* Characters of a link name that are used; a longer name is cut. */
#define HPN_LINK_CHARACTERS 256

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

/* The notification structure is pageable and records are made at DISPATCH_LEVEL, so the name is copied first. */
static
VOID
HpnLinkCopy(
    _In_opt_ PCUNICODE_STRING Link,
    _Out_writes_(HPN_LINK_CHARACTERS + 1) PWSTR Text,
    _Out_ PUNICODE_STRING Copy
    )
{
    ULONG length = 0;
    ULONG index;

    if (Link != NULL && Link->Buffer != NULL) {
        length = Link->Length / sizeof(WCHAR);
    }
    if (length > HPN_LINK_CHARACTERS) {
        length = HPN_LINK_CHARACTERS;
    }

    for (index = 0; index < length; index += 1) {
        Text[index] = Link->Buffer[index];
    }
    Text[length] = L'\0';
    Copy->Buffer = Text;
    Copy->Length = (USHORT)(length * sizeof(WCHAR));
    Copy->MaximumLength = Copy->Length + sizeof(WCHAR);
}

/*
 * Reports the arrival of a device, and grows the buffer when it is memory.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     NotificationStructure: a DEVICE_INTERFACE_CHANGE_NOTIFICATION, in paged memory.
 *     Context: the registration, an HPN_ASYNC.
 * Returns: STATUS_SUCCESS, whatever happens.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioregisterplugplaynotification
 */
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
    WCHAR linkText[HPN_LINK_CHARACTERS + 1];
    UNICODE_STRING link;
    CHAR eventText[39];
    CHAR classText[39];

    PAGED_CODE();

    HpnLinkCopy(change->SymbolicLinkName, linkText, &link);
    enter.Registration = async->Id;
    enter.Version = change->Version;
    enter.Link = &link;
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

    exit.Enter = HpnLogRecord(async->Log, HpnRecordAsyncEnter, &enter);

    /* Anything but an arrival is only recorded. Processors are acted on in their Complete callback. */
    if (async->Buffer != NULL && IsEqualGUID(&change->Event, &GUID_DEVICE_INTERFACE_ARRIVAL)) {
        HpnBufferGrow(async->Buffer, enter.Memory);
    }

    exit.Registration = async->Id;
    exit.Returned = STATUS_SUCCESS;
    HpnLogRecord(async->Log, HpnRecordAsyncExit, &exit);
    return STATUS_SUCCESS;
}

_Use_decl_annotations_
VOID
HpnAsyncInitialize(
    PHPN_ASYNC Async,
    PHPN_LOG Log,
    HPN_ASYNC_CLASS Class,
    PHPN_BUFFER Buffer
    )
{
    Async->Log = Log;
    Async->Buffer = Buffer;
    Async->ClassGuid = Class == HpnAsyncProcessor ? &GUID_DEVICE_PROCESSOR : &GUID_DEVICE_MEMORY;
    Async->Class = Class == HpnAsyncProcessor ? "cpu" : "memory";
}

_Use_decl_annotations_
NTSTATUS
HpnAsyncRegister(
    PHPN_ASYNC Async,
    ULONG Flags
    )
{
    NTSTATUS status;
    ULONG64 enter;

    PAGED_CODE();

    if (Async->Entry != NULL) {
        return STATUS_INVALID_DEVICE_STATE;
    }

    Async->Id = HpnLogRegistration(Async->Log);
    enter = HpnLogCallEnter(Async->Log, "reg_async", Async->Id, Flags, Async->Class, Async);
    status = IoRegisterPlugPlayNotification(
        EventCategoryDeviceInterfaceChange,
        Flags,
        (PVOID)Async->ClassGuid,
        WdfDriverWdmGetDriverObject(Async->Log->Framework),
        HpnInterfaceChange,
        Async,
        &Async->Entry);
    if (!NT_SUCCESS(status)) {
        Async->Entry = NULL;
    }
    HpnLogCallExit(Async->Log, enter, "reg_async", status, Async->Id, Async->Entry);

    return status;
}

/* Ends a registration, if there is one; no callback runs after this has returned. */
_Use_decl_annotations_
VOID
HpnAsyncUnregister(
    PHPN_ASYNC Async
    )
{
    NTSTATUS status;
    ULONG64 enter;
    PVOID entry;

    PAGED_CODE();

    entry = InterlockedExchangePointer(&Async->Entry, NULL);
    if (entry == NULL) {
        return;
    }

    enter = HpnLogCallEnter(Async->Log, "unreg_ex", Async->Id, 0, Async->Class, NULL);
    status = IoUnregisterPlugPlayNotificationEx(entry);
    HpnLogCallExit(Async->Log, enter, "unreg_ex", status, Async->Id, NULL);
}
