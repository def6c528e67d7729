/* SPDX-License-Identifier: MIT */
/*
 * The NT core, seen from a driver with the real binary interface. The core's structures have the real layout where
 * they cross the border of a callback (KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, DEVICE_INTERFACE_CHANGE_NOTIFICATION,
 * UNICODE_STRING, and the beginning of WDF_OBJECT_CONTEXT_TYPE_INFO); the others are converted here.
 */
#include "object.h"

#include "double.h"

_Static_assert(sizeof(KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT) == 16, "as the driver has it");
_Static_assert(sizeof(DEVICE_INTERFACE_CHANGE_NOTIFICATION) == 48, "as the driver has it");
_Static_assert(sizeof(EX_RUNDOWN_REF) == 8, "as the driver has it");
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
    void *driver, const struct double_attributes *attributes, unsigned flags, void *add, void *unload,
    void **framework)
{
    PDRIVER_OBJECT object = driver;
    WDF_DRIVER_CONFIG config;
    UNICODE_STRING path;

    WDF_DRIVER_CONFIG_INIT(&config, (EVT_WDF_DRIVER_DEVICE_ADD *)(ULONG_PTR)add);
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

/* A device that Wine found. It has no resources; the double stops it in a rebalance anyway. */
void *
adapter_node(void *framework)
{
    return node_create(framework, "", TRUE);
}

int
adapter_node_add(void *node)
{
    return node_add(node);
}

void
adapter_node_delete(void *node)
{
    node_delete(node);
}

void *
adapter_node_device(void *node)
{
    return ((struct WDFDEVICE_INIT *)node)->device;
}

void
adapter_node_callbacks(void *node, const struct double_callbacks *given)
{
    WDF_PNPPOWER_EVENT_CALLBACKS callbacks;

    WDF_PNPPOWER_EVENT_CALLBACKS_INIT(&callbacks);
    callbacks.EvtDevicePrepareHardware = (EVT_WDF_DEVICE_PREPARE_HARDWARE *)(ULONG_PTR)given->prepare;
    callbacks.EvtDeviceReleaseHardware = (EVT_WDF_DEVICE_RELEASE_HARDWARE *)(ULONG_PTR)given->release;
    callbacks.EvtDeviceD0Entry = (EVT_WDF_DEVICE_D0_ENTRY *)(ULONG_PTR)given->enter_d0;
    callbacks.EvtDeviceD0Exit = (EVT_WDF_DEVICE_D0_EXIT *)(ULONG_PTR)given->leave_d0;
    callbacks.EvtDeviceSelfManagedIoInit = (EVT_WDF_DEVICE_SELF_MANAGED_IO_INIT *)(ULONG_PTR)given->begin;
    callbacks.EvtDeviceSelfManagedIoSuspend = (EVT_WDF_DEVICE_SELF_MANAGED_IO_SUSPEND *)(ULONG_PTR)given->suspend;
    callbacks.EvtDeviceSelfManagedIoRestart = (EVT_WDF_DEVICE_SELF_MANAGED_IO_RESTART *)(ULONG_PTR)given->restart;
    callbacks.EvtDeviceSelfManagedIoCleanup = (EVT_WDF_DEVICE_SELF_MANAGED_IO_CLEANUP *)(ULONG_PTR)given->end;
    WdfDeviceInitSetPnpPowerEventCallbacks(node, &callbacks);
}

int
adapter_node_preprocess(void *node, void *callback, unsigned char major, unsigned char *minors, unsigned count)
{
    return WdfDeviceInitAssignWdmIrpPreprocessCallback(
        node, (EVT_WDFDEVICE_WDM_IRP_PREPROCESS *)(ULONG_PTR)callback, major, minors, count);
}

void *
adapter_node_preprocessed(void *node, unsigned char minor)
{
    const struct WDFDEVICE_INIT *init = node;
    ULONG index;

    for (index = 0; index < init->minor_count; index += 1) {
        if (init->minors[index] == minor) {
            return (void *)(ULONG_PTR)init->preprocess;
        }
    }
    return NULL;
}

int
adapter_node_handle(void *node, unsigned char minor)
{
    return device_handle((WDFDEVICE)((struct WDFDEVICE_INIT *)node)->device, minor);
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
        FUNCTION(DbgPrintEx), FUNCTION(EtwRegister), FUNCTION(EtwUnregister), FUNCTION(EtwWrite),
        FUNCTION(ExAcquireRundownProtection), FUNCTION(ExFreePool), FUNCTION(ExInitializeRundownProtection),
        FUNCTION(ExReleaseRundownProtection), FUNCTION(ExWaitForRundownProtectionRelease),
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
