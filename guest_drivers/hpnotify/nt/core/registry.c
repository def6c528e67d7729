/* SPDX-License-Identifier: MIT */
/* A registry that lasts as long as the layer: a list of values, each with the path of its key. */
#include "layer.h"

#define VALUE_BYTES 64

struct value {
    struct value *next;
    WCHAR path[LAYER_NAME_CHARACTERS];
    WCHAR name[CORE_NAME_BYTES];
    ULONG type;
    ULONG length;
    UCHAR bytes[VALUE_BYTES];
};

static struct value *values;

static BOOLEAN
same_name(PCWSTR text, PCUNICODE_STRING name)
{
    ULONG length = name->Length / sizeof(WCHAR);

    return wide_length(text) == length && __builtin_memcmp(text, name->Buffer, name->Length) == 0;
}

static struct value *
find(PCWSTR path, PCUNICODE_STRING name)
{
    struct value *each;

    for (each = values; each != NULL; each = each->next) {
        if (wide_equal(each->path, path) && same_name(each->name, name)) {
            return each;
        }
    }
    return NULL;
}

NTSTATUS
registry_set(PCWSTR path, PCUNICODE_STRING name, ULONG type, const void *bytes, ULONG length)
{
    struct value *value;
    NTSTATUS status = STATUS_SUCCESS;

    if (length > VALUE_BYTES || name->Length / sizeof(WCHAR) >= CORE_NAME_BYTES ||
        wide_length(path) >= LAYER_NAME_CHARACTERS) {
        return STATUS_INVALID_PARAMETER;
    }

    machine_lock(MACHINE_MUTEX_REGISTRY);
    value = find(path, name);
    if (value == NULL) {
        value = machine_allocate(sizeof(*value));
        if (value == NULL) {
            status = STATUS_INSUFFICIENT_RESOURCES;
        } else {
            wide_append(value->path, LAYER_NAME_CHARACTERS, path);
            RtlCopyMemory(value->name, name->Buffer, name->Length);
            value->next = values;
            values = value;
        }
    }
    if (value != NULL) {
        value->type = type;
        value->length = length;
        RtlCopyMemory(value->bytes, bytes, length);
    }
    machine_unlock(MACHINE_MUTEX_REGISTRY);
    return status;
}

NTSTATUS
registry_get(PCWSTR path, PCUNICODE_STRING name, ULONG capacity, void *bytes, PULONG length, PULONG type)
{
    struct value *value;
    NTSTATUS status = STATUS_OBJECT_NAME_NOT_FOUND;

    machine_lock(MACHINE_MUTEX_REGISTRY);
    value = find(path, name);
    if (value != NULL) {
        status = value->length <= capacity ? STATUS_SUCCESS : STATUS_BUFFER_OVERFLOW;
        RtlCopyMemory(bytes, value->bytes, value->length <= capacity ? value->length : capacity);
        *length = value->length;
        *type = value->type;
    }
    machine_unlock(MACHINE_MUTEX_REGISTRY);
    return status;
}

BOOLEAN
registry_has(PCWSTR path)
{
    struct value *each;
    BOOLEAN found = FALSE;

    machine_lock(MACHINE_MUTEX_REGISTRY);
    for (each = values; each != NULL && !found; each = each->next) {
        found = wide_equal(each->path, path);
    }
    machine_unlock(MACHINE_MUTEX_REGISTRY);
    return found;
}

void
registry_remove(PCWSTR path)
{
    struct value **link = &values;
    struct value *value;

    machine_lock(MACHINE_MUTEX_REGISTRY);
    while (*link != NULL) {
        value = *link;
        if (wide_equal(value->path, path)) {
            *link = value->next;
            machine_free(value);
        } else {
            link = &value->next;
        }
    }
    machine_unlock(MACHINE_MUTEX_REGISTRY);
}

void
registry_forget(void)
{
    struct value *value;

    while (values != NULL) {
        value = values;
        values = value->next;
        machine_free(value);
    }
}

/* Keys by handle. The lowest bit of a handle to a key is set, to distinguish it from a thread's. */

struct key {
    WCHAR path[LAYER_NAME_CHARACTERS];
};

static struct key *
key_of(HANDLE handle)
{
    return (struct key *)((ULONG_PTR)handle & ~(ULONG_PTR)1);
}

static BOOLEAN
has_below(PCWSTR path)
{
    struct value *each;
    BOOLEAN found = FALSE;
    ULONG length = wide_length(path);

    machine_lock(MACHINE_MUTEX_REGISTRY);
    for (each = values; each != NULL && !found; each = each->next) {
        found = __builtin_memcmp(each->path, path, length * sizeof(WCHAR)) == 0;
    }
    machine_unlock(MACHINE_MUTEX_REGISTRY);
    return found;
}

static void
append_counted(PWSTR buffer, PCUNICODE_STRING text)
{
    ULONG used = wide_length(buffer);
    ULONG index;

    for (index = 0; index < text->Length / sizeof(WCHAR) && used < LAYER_NAME_CHARACTERS - 1; index += 1) {
        buffer[used] = text->Buffer[index];
        used += 1;
    }
    buffer[used] = 0;
}

NTSTATUS
ZwOpenKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    struct key *key;

    UNREFERENCED_PARAMETER(DesiredAccess);
    key = machine_allocate(sizeof(*key));
    if (key == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (ObjectAttributes->RootDirectory != NULL) {
        wide_append(key->path, LAYER_NAME_CHARACTERS, key_of(ObjectAttributes->RootDirectory)->path);
        wide_append_ascii(key->path, LAYER_NAME_CHARACTERS, "\\");
    }
    append_counted(key->path, ObjectAttributes->ObjectName);
    if (!has_below(key->path)) {
        machine_free(key);
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    *KeyHandle = (HANDLE)((ULONG_PTR)key | 1);
    return STATUS_SUCCESS;
}

NTSTATUS
ZwQueryValueKey(
    HANDLE KeyHandle, PUNICODE_STRING ValueName, KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
    PVOID KeyValueInformation, ULONG Length, PULONG ResultLength)
{
    const ULONG head = FIELD_OFFSET(KEY_VALUE_PARTIAL_INFORMATION, Data);
    KEY_VALUE_PARTIAL_INFORMATION *information = KeyValueInformation;
    ULONG length = 0;
    ULONG type = 0;
    NTSTATUS status;

    if (KeyValueInformationClass != KeyValuePartialInformation || Length < head || machine_fails()) {
        return STATUS_INVALID_PARAMETER;
    }
    status = registry_get(
        key_of(KeyHandle)->path, ValueName, Length - head, (PUCHAR)KeyValueInformation + head, &length, &type);
    if (status == STATUS_OBJECT_NAME_NOT_FOUND) {
        return status;
    }
    information->TitleIndex = 0;
    information->Type = type;
    information->DataLength = length;
    *ResultLength = head + length;
    return status;
}

BOOLEAN
registry_close(HANDLE handle)
{
    if (((ULONG_PTR)handle & 1) == 0) {
        return FALSE;
    }
    machine_free(key_of(handle));
    return TRUE;
}
