/* SPDX-License-Identifier: MIT */
/*
 * The framework: objects with parents, children and contexts, a non-PnP driver, its control device, one default queue
 * and requests. A request is completed before its I/O control call returns; requests are never kept pending here.
 */
#include "object.h"

/* Children are also created and deleted by callbacks of a hot addition while other threads control the driver. */
static KSPIN_LOCK tree;

BOOLEAN
object_is_initialized(const char *type, ULONG bytes, size_t expected)
{
    if (bytes != expected) {
        layer_trouble("a %s says that it has %u bytes", type, bytes);
    }
    return bytes == expected;
}

struct object *
object_create(
    enum object_kind kind, struct object *default_parent, const WDF_OBJECT_ATTRIBUTES *attributes, size_t payload_bytes)
{
    struct object *parent = default_parent;
    struct object *object;
    KIRQL irql;

    object = machine_allocate(sizeof(*object));
    if (object == NULL) {
        return NULL;
    }
    object->kind = kind;

    if (attributes != NULL) {
        (void)object_is_initialized("WDF_OBJECT_ATTRIBUTES", attributes->Size, sizeof(*attributes));
        if (attributes->ParentObject != NULL) {
            parent = attributes->ParentObject;
        }
        if (attributes->ContextTypeInfo != NULL) {
            object->type = attributes->ContextTypeInfo;
            object->context = machine_allocate(object->type->ContextSize);
        }
    }
    if (payload_bytes != 0) {
        object->payload = machine_allocate(payload_bytes);
    }
    if ((object->type != NULL && object->context == NULL) || (payload_bytes != 0 && object->payload == NULL)) {
        machine_free(object->context);
        machine_free(object->payload);
        machine_free(object);
        return NULL;
    }

    if (parent != NULL) {
        KeAcquireSpinLock(&tree, &irql);
        object->parent = parent;
        object->next = parent->children;
        parent->children = object;
        KeReleaseSpinLock(&tree, irql);
    }
    return object;
}

VOID
WdfObjectDelete(WDFOBJECT Object)
{
    struct object *object = Object;
    struct object **link;
    struct object *child;
    KIRQL irql;

    KeAcquireSpinLock(&tree, &irql);
    if (object->parent != NULL) {
        for (link = &object->parent->children; *link != object; link = &(*link)->next) {
        }
        *link = object->next;
        object->parent = NULL;
    }
    KeReleaseSpinLock(&tree, irql);

    if (object->kind == OBJECT_DEVICE && object->device.driver->driver.device == object) {
        object->device.driver->driver.device = NULL;
    }

    for (;;) {
        KeAcquireSpinLock(&tree, &irql);
        child = object->children;
        KeReleaseSpinLock(&tree, irql);
        if (child == NULL) {
            break;
        }
        WdfObjectDelete(child);
    }

    machine_free(object->context);
    machine_free(object->payload);
    machine_free(object);
}

PVOID
WdfObjectGetTypedContextWorker(WDFOBJECT Handle, const WDF_OBJECT_CONTEXT_TYPE_INFO *TypeInfo)
{
    struct object *object = Handle;

    if (object->type == NULL || __builtin_strcmp(object->type->ContextName, TypeInfo->ContextName) != 0) {
        layer_trouble("an object has no context of type %s", TypeInfo->ContextName);
        return NULL;
    }
    return object->context;
}

/* Driver. */

static struct object *drivers;

NTSTATUS
WdfDriverCreate(
    PDRIVER_OBJECT DriverObject, PCUNICODE_STRING RegistryPath, PWDF_OBJECT_ATTRIBUTES DriverAttributes,
    PWDF_DRIVER_CONFIG DriverConfig, WDFDRIVER *Driver)
{
    struct object *object;

    BOOLEAN devices = DriverConfig->EvtDriverDeviceAdd != NULL;
    KIRQL irql;

    /* A driver that declares itself non-PnP must not have EvtDriverDeviceAdd, any other must. */
    UNREFERENCED_PARAMETER(RegistryPath);
    if (!object_is_initialized("WDF_DRIVER_CONFIG", DriverConfig->Size, sizeof(*DriverConfig)) ||
        devices == ((DriverConfig->DriverInitFlags & WdfDriverInitNonPnpDriver) != 0) ||
        DriverObject->framework != NULL) {
        return STATUS_INVALID_PARAMETER;
    }

    object = object_create(OBJECT_DRIVER, NULL, DriverAttributes, 0);
    if (object == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    object->driver.object = DriverObject;
    object->driver.config = *DriverConfig;
    KeAcquireSpinLock(&tree, &irql);
    object->next = drivers;
    drivers = object;
    KeReleaseSpinLock(&tree, irql);
    DriverObject->framework = (WDFDRIVER)object;
    if (Driver != NULL) {
        *Driver = (WDFDRIVER)object;
    }
    return STATUS_SUCCESS;
}

PDRIVER_OBJECT
WdfDriverWdmGetDriverObject(WDFDRIVER Driver)
{
    return ((struct object *)Driver)->driver.object;
}

PWSTR
WdfDriverGetRegistryPath(WDFDRIVER Driver)
{
    return ((struct object *)Driver)->driver.object->registry_path;
}

void
framework_delete(WDFDRIVER driver)
{
    struct object **link;
    KIRQL irql;

    KeAcquireSpinLock(&tree, &irql);
    for (link = &drivers; *link != NULL && *link != (struct object *)driver; link = &(*link)->next) {
    }
    if (*link != NULL) {
        *link = (*link)->next;
    }
    KeReleaseSpinLock(&tree, irql);
    WdfObjectDelete(driver);
}

PUCHAR
framework_context(const void *inside, size_t *bytes)
{
    struct object *each;
    PUCHAR context = NULL;
    KIRQL irql;

    KeAcquireSpinLock(&tree, &irql);
    for (each = drivers; each != NULL && context == NULL; each = each->next) {
        if (each->context != NULL && (ULONG_PTR)inside - (ULONG_PTR)each->context < each->type->ContextSize) {
            context = each->context;
            *bytes = each->type->ContextSize;
        }
    }
    KeReleaseSpinLock(&tree, irql);
    return context;
}

void
framework_unload(WDFDRIVER driver)
{
    behaviour()->unload(driver);
}

void
framework_call_unload(WDFDRIVER driver)
{
    struct object *object = (struct object *)driver;

    if (object->driver.config.EvtDriverUnload != NULL) {
        object->driver.config.EvtDriverUnload(driver);
    }
}

/* Memory. */

NTSTATUS
WdfMemoryCreate(
    PWDF_OBJECT_ATTRIBUTES Attributes, POOL_TYPE PoolType, ULONG PoolTag, size_t BufferSize, WDFMEMORY *Memory,
    PVOID *Buffer)
{
    struct object *object;

    UNREFERENCED_PARAMETER(PoolType);
    UNREFERENCED_PARAMETER(PoolTag);
    if (BufferSize == 0) {
        return STATUS_INVALID_PARAMETER;
    }

    object = object_create(OBJECT_MEMORY, NULL, Attributes, BufferSize);
    if (object == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    /* The contents are not documented. */
    __builtin_memset(object->payload, 0xA5, BufferSize);
    *Memory = (WDFMEMORY)object;
    *Buffer = object->payload;
    return STATUS_SUCCESS;
}

/* Registry keys. */

static NTSTATUS
open_key(struct object *parent, PCWSTR path, PWDF_OBJECT_ATTRIBUTES attributes, WDFKEY *key)
{
    struct object *object = object_create(OBJECT_KEY, parent, attributes, 0);

    if (object == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    wide_append(object->key.path, LAYER_NAME_CHARACTERS, path);
    *key = (WDFKEY)object;
    return STATUS_SUCCESS;
}

NTSTATUS
WdfDriverOpenParametersRegistryKey(
    WDFDRIVER Driver, ACCESS_MASK DesiredAccess, PWDF_OBJECT_ATTRIBUTES KeyAttributes, WDFKEY *Key)
{
    WCHAR path[LAYER_NAME_CHARACTERS] = { 0 };

    UNREFERENCED_PARAMETER(DesiredAccess);
    wide_append(path, LAYER_NAME_CHARACTERS, WdfDriverGetRegistryPath(Driver));
    wide_append_ascii(path, LAYER_NAME_CHARACTERS, "\\Parameters");
    if (!registry_has(path)) {
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    return open_key((struct object *)Driver, path, KeyAttributes, Key);
}

NTSTATUS
WdfRegistryCreateKey(
    WDFKEY ParentKey, PCUNICODE_STRING KeyName, ACCESS_MASK DesiredAccess, ULONG CreateOptions,
    PULONG CreateDisposition, PWDF_OBJECT_ATTRIBUTES KeyAttributes, WDFKEY *Key)
{
    UNREFERENCED_PARAMETER(DesiredAccess);
    UNREFERENCED_PARAMETER(CreateDisposition);

    /* Only what the driver does: an absolute path, and nothing that would have to survive a restart. */
    if (ParentKey != NULL || (CreateOptions & REG_OPTION_VOLATILE) == 0 || KeyName->Buffer == NULL) {
        return STATUS_INVALID_PARAMETER;
    }
    return open_key(NULL, KeyName->Buffer, KeyAttributes, Key);
}

NTSTATUS
WdfRegistryQueryValue(
    WDFKEY Key, PCUNICODE_STRING ValueName, ULONG ValueLength, PVOID Value, PULONG ValueLengthQueried, PULONG ValueType)
{
    NTSTATUS status;
    ULONG length = 0;
    ULONG type = 0;

    if (machine_fails()) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    status = registry_get(((struct object *)Key)->key.path, ValueName, ValueLength, Value, &length, &type);
    if (ValueLengthQueried != NULL) {
        *ValueLengthQueried = length;
    }
    if (ValueType != NULL) {
        *ValueType = type;
    }
    return status;
}

NTSTATUS
WdfRegistryQueryULong(WDFKEY Key, PCUNICODE_STRING ValueName, PULONG Value)
{
    ULONG length;
    ULONG type;
    ULONG value;
    NTSTATUS status;

    status = WdfRegistryQueryValue(Key, ValueName, sizeof(value), &value, &length, &type);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    if (type != REG_DWORD || length != sizeof(value)) {
        return STATUS_INVALID_PARAMETER;
    }
    *Value = value;
    return STATUS_SUCCESS;
}

NTSTATUS
WdfRegistryAssignValue(WDFKEY Key, PCUNICODE_STRING ValueName, ULONG ValueType, ULONG ValueLength, PVOID Value)
{
    if (machine_fails()) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    return registry_set(((struct object *)Key)->key.path, ValueName, ValueType, Value, ValueLength);
}

VOID
WdfRegistryClose(WDFKEY Key)
{
    WdfObjectDelete(Key);
}

/* Control device and queue. */

PWDFDEVICE_INIT
WdfControlDeviceInitAllocate(WDFDRIVER Driver, const UNICODE_STRING *SDDLString)
{
    PWDFDEVICE_INIT initialize = machine_allocate(sizeof(*initialize));

    UNREFERENCED_PARAMETER(SDDLString);
    if (initialize != NULL) {
        initialize->driver = (struct object *)Driver;
    }
    return initialize;
}

VOID
WdfDeviceInitFree(PWDFDEVICE_INIT DeviceInit)
{
    machine_free(DeviceInit);
}

/* Whether a name is below a folder of the object namespace. */
static BOOLEAN
lies_below(PCUNICODE_STRING name, const char *folder)
{
    ULONG index;

    for (index = 0; folder[index] != '\0'; index += 1) {
        if (index * sizeof(WCHAR) >= name->Length || name->Buffer[index] != (WCHAR)folder[index]) {
            return FALSE;
        }
    }
    return index * sizeof(WCHAR) < name->Length;
}

static void
name_copy(PWSTR buffer, PCUNICODE_STRING name)
{
    ULONG length = name->Length / sizeof(WCHAR);

    if (length > LAYER_NAME_CHARACTERS - 1) {
        length = LAYER_NAME_CHARACTERS - 1;
    }
    RtlCopyMemory(buffer, name->Buffer, length * sizeof(WCHAR));
    buffer[length] = 0;
}

NTSTATUS
WdfDeviceInitAssignName(PWDFDEVICE_INIT DeviceInit, PCUNICODE_STRING DeviceName)
{
    if (machine_fails()) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (DeviceName == NULL || !lies_below(DeviceName, "\\Device\\")) {
        return STATUS_INVALID_PARAMETER;
    }
    name_copy(DeviceInit->name, DeviceName);
    return STATUS_SUCCESS;
}

/* Whether a device, or a link to one, has the name. */
static BOOLEAN
name_is_taken(PCWSTR name)
{
    struct object *driver;
    struct object *each;
    BOOLEAN taken = FALSE;
    KIRQL irql;

    KeAcquireSpinLock(&tree, &irql);
    for (driver = drivers; driver != NULL; driver = driver->next) {
        for (each = driver->children; each != NULL; each = each->next) {
            taken = taken || (each->kind == OBJECT_DEVICE &&
                              (wide_equal(each->device.name, name) || wide_equal(each->device.link, name)));
        }
    }
    KeReleaseSpinLock(&tree, irql);
    return taken;
}

NTSTATUS
WdfDeviceCreate(PWDFDEVICE_INIT *DeviceInit, PWDF_OBJECT_ATTRIBUTES DeviceAttributes, WDFDEVICE *Device)
{
    PWDFDEVICE_INIT initialize = *DeviceInit;
    struct object *driver = initialize->driver;
    struct object *device;

    if (!initialize->plug_and_play && driver->driver.device != NULL) {
        return STATUS_OBJECT_NAME_COLLISION;
    }
    if (initialize->name[0] != 0 && name_is_taken(initialize->name)) {
        return STATUS_OBJECT_NAME_COLLISION;
    }

    device = object_create(OBJECT_DEVICE, driver, DeviceAttributes, 0);
    if (device == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    device->device.driver = driver;
    RtlCopyMemory(device->device.name, initialize->name, sizeof(initialize->name));
    *DeviceInit = NULL;
    *Device = (WDFDEVICE)device;
    if (initialize->plug_and_play) {
        device->device.node = initialize;
        initialize->device = device;
    } else {
        machine_free(initialize);
    }
    return STATUS_SUCCESS;
}

NTSTATUS
WdfDeviceCreateSymbolicLink(WDFDEVICE Device, PCUNICODE_STRING SymbolicLinkName)
{
    struct object *device = (struct object *)Device;
    WCHAR link[LAYER_NAME_CHARACTERS];

    if (machine_fails()) {
        return STATUS_OBJECT_NAME_COLLISION;
    }
    if (!lies_below(SymbolicLinkName, "\\DosDevices\\")) {
        return STATUS_INVALID_PARAMETER;
    }
    if (device->device.name[0] == 0) {
        layer_trouble("a symbolic link to a device without a name");
    }
    name_copy(link, SymbolicLinkName);
    if (name_is_taken(link)) {
        return STATUS_OBJECT_NAME_COLLISION;
    }
    RtlCopyMemory(device->device.link, link, sizeof(link));
    return STATUS_SUCCESS;
}

/* From here on the device can be opened. */
VOID
WdfControlFinishInitializing(WDFDEVICE Device)
{
    struct object *device = (struct object *)Device;

    if (device->device.link[0] == 0) {
        layer_trouble("a control device that no name of user mode leads to");
    }
    device->device.finished = TRUE;
    device->device.driver->driver.device = device;
}

NTSTATUS
WdfIoQueueCreate(
    WDFDEVICE Device, PWDF_IO_QUEUE_CONFIG Config, PWDF_OBJECT_ATTRIBUTES QueueAttributes, WDFQUEUE *Queue)
{
    struct object *device = (struct object *)Device;
    struct object *queue;

    /* Only what the driver does: one queue, for all requests. */
    if (!object_is_initialized("WDF_IO_QUEUE_CONFIG", Config->Size, sizeof(*Config)) ||
        Config->DispatchType == WdfIoQueueDispatchInvalid || !Config->DefaultQueue) {
        return STATUS_INVALID_PARAMETER;
    }
    queue = object_create(OBJECT_QUEUE, device, QueueAttributes, 0);
    if (queue == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    queue->queue.config = *Config;
    device->device.queue = queue;
    if (Queue != NULL) {
        *Queue = (WDFQUEUE)queue;
    }
    return STATUS_SUCCESS;
}

WDFDEVICE
WdfIoQueueGetDevice(WDFQUEUE Queue)
{
    return (WDFDEVICE)((struct object *)Queue)->parent;
}

/* Requests: METHOD_BUFFERED, one system buffer for both directions. */

NTSTATUS
framework_control(
    WDFDRIVER driver, ULONG code, const void *input, size_t input_bytes, void *output, size_t output_bytes,
    ULONG_PTR *information)
{
    struct object *device = ((struct object *)driver)->driver.device;
    size_t bytes = input_bytes > output_bytes ? input_bytes : output_bytes;
    struct object *request;
    struct object *queue;
    NTSTATUS status;

    *information = 0;
    if (!behaviour()->takes_request()) {
        return STATUS_SUCCESS;
    }
    queue = device != NULL && device->device.finished ? device->device.queue : NULL;
    if (queue == NULL || queue->queue.config.EvtIoDeviceControl == NULL) {
        return STATUS_DEVICE_NOT_READY;
    }

    request = object_create(OBJECT_REQUEST, NULL, NULL, bytes);
    if (request == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    request->request.input_bytes = input_bytes;
    request->request.output_bytes = output_bytes;
    if (bytes != 0) {
        /* The bytes beyond the input are undefined. */
        __builtin_memset(request->payload, 0xA5, bytes);
    }
    if (input_bytes != 0) {
        RtlCopyMemory(request->payload, input, input_bytes);
    }

    queue->queue.config.EvtIoDeviceControl((WDFQUEUE)queue, (WDFREQUEST)request, output_bytes, input_bytes, code);

    if (!request->request.completed) {
        layer_trouble("request 0x%x was left pending", code);
        return STATUS_PENDING;
    }
    status = request->request.status;
    if (request->request.information > output_bytes) {
        layer_trouble("request 0x%x returns more bytes than its buffer holds", code);
        request->request.information = output_bytes;
    }
    if (NT_SUCCESS(status) && request->request.information != 0) {
        RtlCopyMemory(output, request->payload, request->request.information);
        *information = request->request.information;
    }
    WdfObjectDelete(request);
    return status;
}

static NTSTATUS
retrieve(struct object *request, size_t have, size_t minimum, PVOID *buffer, size_t *length)
{
    if (have == 0 || have < minimum || machine_fails()) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    *buffer = request->payload;
    if (length != NULL) {
        *length = have;
    }
    return STATUS_SUCCESS;
}

NTSTATUS
WdfRequestRetrieveInputBuffer(WDFREQUEST Request, size_t MinimumRequiredLength, PVOID *Buffer, size_t *Length)
{
    struct object *request = (struct object *)Request;

    return retrieve(request, request->request.input_bytes, MinimumRequiredLength, Buffer, Length);
}

NTSTATUS
WdfRequestRetrieveOutputBuffer(WDFREQUEST Request, size_t MinimumRequiredSize, PVOID *Buffer, size_t *Length)
{
    struct object *request = (struct object *)Request;

    return retrieve(request, request->request.output_bytes, MinimumRequiredSize, Buffer, Length);
}

VOID
WdfRequestCompleteWithInformation(WDFREQUEST Request, NTSTATUS Status, ULONG_PTR Information)
{
    struct object *request = (struct object *)Request;

    if (request->request.completed) {
        layer_trouble("a request was completed twice");
    }
    request->request.completed = TRUE;
    request->request.status = Status;
    request->request.information = Information;
}
