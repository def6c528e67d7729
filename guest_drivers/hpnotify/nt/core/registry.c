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
same(PCWSTR left, PCWSTR right)
{
    while (*left != 0 && *left == *right) {
        left += 1;
        right += 1;
    }
    return *left == *right;
}

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
        if (same(each->path, path) && same_name(each->name, name)) {
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
        found = same(each->path, path);
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
        if (same(value->path, path)) {
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
