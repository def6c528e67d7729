/* SPDX-License-Identifier: MIT */
/*
 * Device interfaces of processors and memory, and the callbacks registered for their arrival. One lock is held while
 * a callback runs, so that unregistering waits for it, as IoUnregisterPlugPlayNotificationEx promises.
 */
#include "layer.h"

#include <initguid.h>
#include <poclass.h>
#include <wdmguid.h>

struct interface {
    struct interface *next;
    enum interface_class class;
    ULONG64 identity;
    WCHAR link[LAYER_NAME_CHARACTERS];
};

struct async_registration {
    struct async_registration *next;
    GUID class;
    PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback;
    PVOID context;
};

static struct interface *interfaces;
static struct async_registration *registrations;

static const GUID *
class_guid(enum interface_class class)
{
    return class == INTERFACE_PROCESSOR ? &GUID_DEVICE_PROCESSOR : &GUID_DEVICE_MEMORY;
}

static struct interface *
find(enum interface_class class, ULONG64 identity)
{
    struct interface *each;

    for (each = interfaces; each != NULL; each = each->next) {
        if (each->class == class && each->identity == identity) {
            return each;
        }
    }
    return NULL;
}

static void
append_hexadecimal(PWSTR buffer, ULONG64 value)
{
    char digits[17];
    ULONG index = 16;

    digits[index] = '\0';
    do {
        index -= 1;
        digits[index] = "0123456789abcdef"[value & 0xF];
        value >>= 4;
    } while (value != 0);
    wide_append_ascii(buffer, LAYER_NAME_CHARACTERS, &digits[index]);
}

/* A link name of the usual form; the parts between the '#' are not NT numbers. */
static struct interface *
create(enum interface_class class, ULONG64 identity)
{
    struct interface *interface = machine_allocate(sizeof(*interface));
    struct interface **end;

    if (interface == NULL) {
        return NULL;
    }

    interface->class = class;
    interface->identity = identity;
    wide_append_ascii(interface->link, LAYER_NAME_CHARACTERS, "\\??\\ACPI#");
    wide_append_ascii(interface->link, LAYER_NAME_CHARACTERS, class == INTERFACE_PROCESSOR ? "ACPI0007#" : "PNP0C80#");
    append_hexadecimal(interface->link, identity);
    wide_append_ascii(
        interface->link, LAYER_NAME_CHARACTERS,
        class == INTERFACE_PROCESSOR ? "#{97fadb10-4e33-40ae-359c-8bef029dbdd0}" : "#{3fd0f03d-92e0-45fb-b75c-5ed8ffb01021}");

    for (end = &interfaces; *end != NULL; end = &(*end)->next) {
    }
    *end = interface;
    return interface;
}

/* For every interface change, a driver answers STATUS_SUCCESS (DDI: wdm/nf-wdm-ioregisterplugplaynotification.md). */
static void
call(struct async_registration *registration, DEVICE_INTERFACE_CHANGE_NOTIFICATION *change)
{
    if (behaviour()->arrival(registration->callback, registration->context, change) != STATUS_SUCCESS) {
        layer_trouble("a callback answered an interface change with an error");
    }
}

NTSTATUS
notify_call(
    PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context, DEVICE_INTERFACE_CHANGE_NOTIFICATION *change)
{
    return callback(change, context);
}

static void
deliver(struct async_registration *registration, struct interface *interface)
{
    DEVICE_INTERFACE_CHANGE_NOTIFICATION change;
    UNICODE_STRING link;

    RtlInitUnicodeString(&link, interface->link);
    RtlZeroMemory(&change, sizeof(change));
    change.Version = 1;
    change.Size = sizeof(change);
    change.Event = GUID_DEVICE_INTERFACE_ARRIVAL;
    change.InterfaceClassGuid = *class_guid(interface->class);
    change.SymbolicLinkName = &link;
    call(registration, &change);
}

int
notify_existing(enum interface_class class, ULONG64 identity)
{
    struct interface *interface;

    machine_lock(MACHINE_MUTEX_ASYNC);
    interface = create(class, identity);
    machine_unlock(MACHINE_MUTEX_ASYNC);
    return interface != NULL ? 0 : -1;
}

void
notify_arrival(enum interface_class class, ULONG64 identity)
{
    struct async_registration *each;
    struct interface *interface;

    machine_lock(MACHINE_MUTEX_ASYNC);
    if (find(class, identity) == NULL) {
        interface = create(class, identity);
        if (interface == NULL) {
            layer_trouble("no memory to announce a device");
        }
        for (each = registrations; each != NULL && interface != NULL; each = each->next) {
            if (IsEqualGUID(&each->class, class_guid(class))) {
                deliver(each, interface);
            }
        }
    }
    machine_unlock(MACHINE_MUTEX_ASYNC);
}

void
notify_forget(void)
{
    struct interface *interface;

    while (interfaces != NULL) {
        interface = interfaces;
        interfaces = interface->next;
        machine_free(interface);
    }
}

void
notify_memory(ULONG64 start)
{
    notify_arrival(INTERFACE_MEMORY, start);
}

void
core_interface_changed(unsigned event, unsigned class, unsigned short *link, unsigned bytes)
{
    static const GUID another = { 0x12345678, 0x9ABC, 0xDEF0, { 1, 2, 3, 4, 5, 6, 7, 8 } };
    DEVICE_INTERFACE_CHANGE_NOTIFICATION change;
    struct async_registration *each;
    UNICODE_STRING name;

    RtlZeroMemory(&change, sizeof(change));
    RtlZeroMemory(&name, sizeof(name));
    name.Buffer = link;
    name.Length = (USHORT)bytes;
    name.MaximumLength = (USHORT)bytes;
    change.Version = 1;
    change.Size = sizeof(change);
    change.Event = event == 0 ? GUID_DEVICE_INTERFACE_ARRIVAL : event == 1 ? GUID_DEVICE_INTERFACE_REMOVAL : another;
    change.InterfaceClassGuid = class == 2 ? another : *class_guid(class == 0 ? INTERFACE_PROCESSOR : INTERFACE_MEMORY);
    change.SymbolicLinkName = link != NULL ? &name : NULL;

    machine_lock(MACHINE_MUTEX_ASYNC);
    for (each = registrations; each != NULL; each = each->next) {
        call(each, &change);
    }
    machine_unlock(MACHINE_MUTEX_ASYNC);
}

NTSTATUS
IoRegisterPlugPlayNotification(
    IO_NOTIFICATION_EVENT_CATEGORY EventCategory, ULONG EventCategoryFlags, PVOID EventCategoryData,
    PDRIVER_OBJECT DriverObject, PDRIVER_NOTIFICATION_CALLBACK_ROUTINE CallbackRoutine, PVOID Context,
    PVOID *NotificationEntry)
{
    struct async_registration *registration;
    struct async_registration **end;
    struct interface *each;
    BOOLEAN first = TRUE;

    if (EventCategory != EventCategoryDeviceInterfaceChange || EventCategoryData == NULL || DriverObject == NULL ||
        CallbackRoutine == NULL ||
        (EventCategoryFlags & ~PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES) != 0) {
        return STATUS_INVALID_PARAMETER;
    }

    registration = machine_allocate(sizeof(*registration));
    if (registration == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    registration->class = *(const GUID *)EventCategoryData;
    registration->callback = CallbackRoutine;
    registration->context = Context;

    machine_lock(MACHINE_MUTEX_ASYNC);
    for (end = &registrations; *end != NULL; end = &(*end)->next) {
    }
    *end = registration;
    *NotificationEntry = registration;
    if (EventCategoryFlags & PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES) {
        /* An existing interface may be reported twice (DDI: wdm/nf-wdm-ioregisterplugplaynotification.md): the first is. */
        for (each = interfaces; each != NULL; each = each->next) {
            if (IsEqualGUID(&registration->class, class_guid(each->class))) {
                deliver(registration, each);
                if (first) {
                    deliver(registration, each);
                }
                first = FALSE;
            }
        }
    }
    machine_unlock(MACHINE_MUTEX_ASYNC);
    return STATUS_SUCCESS;
}

NTSTATUS
IoUnregisterPlugPlayNotificationEx(PVOID NotificationEntry)
{
    struct async_registration *registration = NotificationEntry;
    struct async_registration **link;
    NTSTATUS status = STATUS_SUCCESS;

    machine_lock(MACHINE_MUTEX_ASYNC);
    for (link = &registrations; *link != NULL && *link != NotificationEntry; link = &(*link)->next) {
    }
    if (*link != NULL) {
        *link = (*link)->next;
        behaviour()->unregistered(registration->callback, registration->context);
    } else {
        status = STATUS_INVALID_PARAMETER;
        NotificationEntry = NULL;
        layer_trouble("IoUnregisterPlugPlayNotificationEx: no such registration");
    }
    machine_unlock(MACHINE_MUTEX_ASYNC);
    machine_free(NotificationEntry);
    return status;
}
