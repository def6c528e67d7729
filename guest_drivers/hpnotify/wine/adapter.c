/* SPDX-License-Identifier: MIT */
/*
 * The NT core, seen from a driver with the real binary interface. The core's structures have the real layout where
 * they cross the border of a callback (KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, DEVICE_INTERFACE_CHANGE_NOTIFICATION,
 * UNICODE_STRING, and the beginning of WDF_OBJECT_CONTEXT_TYPE_INFO); the others are converted here.
 */
#include "layer.h"

#include "double.h"

_Static_assert(sizeof(KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT) == 16, "as the driver has it");
_Static_assert(sizeof(DEVICE_INTERFACE_CHANGE_NOTIFICATION) == 48, "as the driver has it");
_Static_assert(sizeof(UNICODE_STRING) == 16, "as the driver has it");
_Static_assert(__builtin_offsetof(WDF_OBJECT_CONTEXT_TYPE_INFO, ContextSize) == 16, "as the driver has it");

static const WDF_OBJECT_ATTRIBUTES *
converted(const struct double_attributes *given, WDF_OBJECT_ATTRIBUTES *attributes)
{
    if (given == NULL) {
        return NULL;
    }
    WDF_OBJECT_ATTRIBUTES_INIT(attributes);
    attributes->ExecutionLevel = given->execution_level;
    attributes->ParentObject = given->parent;
    attributes->ContextTypeInfo = given->type;
    return attributes;
}

/* Drivers have no Plug and Play devices here: the core is never asked for one, and refuses a driver that expects them. */
void
service_rebalance_all(void *unused)
{
    UNREFERENCED_PARAMETER(unused);
    layer_trouble("a rebalance, although there are no devices");
}

#define CONVERTED(Given) ((PWDF_OBJECT_ATTRIBUTES)converted((Given), &(WDF_OBJECT_ATTRIBUTES){ 0 }))

void *
adapter_driver(const unsigned short *registry_path)
{
    PDRIVER_OBJECT driver = machine_allocate(sizeof(*driver));
    WCHAR path[LAYER_NAME_CHARACTERS] = { 0 };
    WCHAR text[CORE_NAME_BYTES];
    UNICODE_STRING name;
    unsigned value;
    unsigned index;

    if (driver == NULL) {
        return NULL;
    }
    wide_append(driver->registry_path, LAYER_NAME_CHARACTERS, registry_path);
    wide_append(path, LAYER_NAME_CHARACTERS, registry_path);
    wide_append_ascii(path, LAYER_NAME_CHARACTERS, "\\Parameters");
    registry_remove(path);
    for (index = 0; double_parameter(registry_path, index, text, &value); index += 1) {
        RtlInitUnicodeString(&name, text);
        (void)registry_set(path, &name, REG_DWORD, &value, sizeof(value));
    }
    return driver;
}

void
adapter_driver_gone(void *driver)
{
    PDRIVER_OBJECT object = driver;

    if (object->framework != NULL) {
        framework_delete(object->framework);
    }
    machine_free(object);
}

unsigned
adapter_outstanding(void)
{
    return pool_outstanding() + providers_outstanding();
}

unsigned
adapter_irql(void)
{
    return KeGetCurrentIrql();
}

int
adapter_driver_create(
    void *driver, const struct double_attributes *attributes, unsigned flags, void *unload, void **framework)
{
    PDRIVER_OBJECT object = driver;
    WDF_DRIVER_CONFIG config;
    UNICODE_STRING path;

    WDF_DRIVER_CONFIG_INIT(&config, NULL);
    config.DriverInitFlags = flags;
    config.EvtDriverUnload = (EVT_WDF_DRIVER_UNLOAD *)(ULONG_PTR)unload;
    RtlInitUnicodeString(&path, object->registry_path);
    return WdfDriverCreate(object, &path, CONVERTED(attributes), &config, (WDFDRIVER *)framework);
}

void
adapter_unload(void *framework)
{
    framework_unload(framework);
}

const unsigned short *
adapter_registry_path(void *framework)
{
    return WdfDriverGetRegistryPath(framework);
}

int
adapter_parameters_key(void *framework, const struct double_attributes *attributes, void **key)
{
    return WdfDriverOpenParametersRegistryKey(framework, KEY_READ, CONVERTED(attributes), (WDFKEY *)key);
}

int
adapter_memory(const struct double_attributes *attributes, unsigned long long bytes, void **memory, void **buffer)
{
    return WdfMemoryCreate(CONVERTED(attributes), NonPagedPoolNx, 0, bytes, (WDFMEMORY *)memory, buffer);
}

int
adapter_key(const void *name, unsigned options, const struct double_attributes *attributes, void **key)
{
    return WdfRegistryCreateKey(NULL, name, KEY_READ, options, NULL, CONVERTED(attributes), (WDFKEY *)key);
}

void *
adapter_device_init(void *framework)
{
    return WdfControlDeviceInitAllocate(framework, NULL);
}

int
adapter_device(void **init, const struct double_attributes *attributes, void **device)
{
    return WdfDeviceCreate((PWDFDEVICE_INIT *)init, CONVERTED(attributes), (WDFDEVICE *)device);
}

int
adapter_queue(
    void *device, unsigned dispatch, int is_default, void *control, const struct double_attributes *attributes,
    void **queue)
{
    WDF_IO_QUEUE_CONFIG config;

    WDF_IO_QUEUE_CONFIG_INIT_DEFAULT_QUEUE(&config, dispatch);
    config.DefaultQueue = (BOOLEAN)is_default;
    config.EvtIoDeviceControl = (EVT_WDF_IO_QUEUE_IO_DEVICE_CONTROL *)(ULONG_PTR)control;
    return WdfIoQueueCreate(device, &config, CONVERTED(attributes), (WDFQUEUE *)queue);
}

int
adapter_control(
    void *framework, unsigned code, const void *input, unsigned long long input_bytes, void *output,
    unsigned long long output_bytes, unsigned long long *information)
{
    ULONG_PTR bytes = 0;
    NTSTATUS status = framework_control(framework, code, input, input_bytes, output, output_bytes, &bytes);

    *information = bytes;
    return status;
}

void
adapter_bind(unsigned short group, unsigned long long mask)
{
    unsigned machines[64];

    if (processor_machines(group, mask, machines) != 0) {
        double_be(machines[0]);
    }
}

int
adapter_processor(const void *number)
{
    PROCESSOR_NUMBER wanted = *(const PROCESSOR_NUMBER *)number;
    unsigned machines[64];

    if (KeGetProcessorIndexFromNumber(&wanted) == INVALID_PROCESSOR_INDEX ||
        processor_machines(wanted.Group, (KAFFINITY)1 << wanted.Number, machines) != 1) {
        return -1;
    }
    return (int)machines[0];
}

void
adapter_port_write(unsigned short port, void *bytes, unsigned count)
{
    WRITE_PORT_BUFFER_UCHAR((PUCHAR)(ULONG_PTR)port, bytes, count);
}

struct function {
    const char *name;
    void *address;
};

#define FUNCTION(Name) { #Name, (void *)(ULONG_PTR)Name }

static void *
find(const struct function *functions, const char *name)
{
    for (; functions->name != NULL; functions += 1) {
        if (__builtin_strcmp(functions->name, name) == 0) {
            return functions->address;
        }
    }
    return NULL;
}

void *
adapter_redirect(const char *name)
{
    static const struct function functions[] = {
        FUNCTION(DbgPrintEx), FUNCTION(EtwRegister), FUNCTION(EtwUnregister), FUNCTION(EtwWrite), FUNCTION(ExFreePool),
        FUNCTION(IoRegisterPlugPlayNotification), FUNCTION(IoUnregisterPlugPlayNotificationEx),
        FUNCTION(KeDeregisterProcessorChangeCallback), FUNCTION(KeGetCurrentProcessorNumberEx),
        FUNCTION(KeGetProcessorIndexFromNumber), FUNCTION(KeGetProcessorNumberFromIndex),
        FUNCTION(KeQueryActiveGroupCount), FUNCTION(KeQueryActiveProcessorCount),
        FUNCTION(KeQueryActiveProcessorCountEx), FUNCTION(KeQueryGroupAffinity),
        FUNCTION(KeQueryMaximumProcessorCountEx), FUNCTION(KeRegisterProcessorChangeCallback),
        FUNCTION(KeReleaseSpinLock), FUNCTION(MmGetSystemRoutineAddress), { NULL, NULL }
    };

    return find(functions, name);
}

void *
adapter_framework(const char *name)
{
    static const struct function functions[] = {
        FUNCTION(WdfControlFinishInitializing), FUNCTION(WdfDeviceInitAssignName), FUNCTION(WdfDeviceInitFree),
        FUNCTION(WdfDeviceCreateSymbolicLink), FUNCTION(WdfIoQueueGetDevice), FUNCTION(WdfObjectDelete),
        FUNCTION(WdfObjectGetTypedContextWorker), FUNCTION(WdfRegistryAssignValue), FUNCTION(WdfRegistryClose),
        FUNCTION(WdfRegistryQueryULong), FUNCTION(WdfRegistryQueryValue),
        FUNCTION(WdfRequestCompleteWithInformation), FUNCTION(WdfRequestRetrieveInputBuffer),
        FUNCTION(WdfRequestRetrieveOutputBuffer), { NULL, NULL }
    };

    return find(functions, name);
}
