/* SPDX-License-Identifier: MIT */
/*
 * The NT core, seen from a driver with the real binary interface. The framework's structures are those of kmdf/, which
 * the driver was compiled with; the core's own have the real layout where they cross the border of a callback.
 */
#include <wdf_handles.h>

/* Each function of the core's framework, and the same with the driver's globals before its arguments, for the table. */
#define WDF_FUNCTION(Result, Name, Parameters, Names) \
    Result Name(WDF_REMOVE_PARENTHESES Parameters); \
    Result Core##Name(PVOID Globals, WDF_REMOVE_PARENTHESES Parameters) \
    { \
        UNREFERENCED_PARAMETER(Globals); \
        return Name(WDF_REMOVE_PARENTHESES Names); \
    }

#include "object.h"

#include "double.h"

_Static_assert(sizeof(KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT) == 16, "as the driver has it");
_Static_assert(sizeof(DEVICE_INTERFACE_CHANGE_NOTIFICATION) == 48, "as the driver has it");
_Static_assert(sizeof(EX_RUNDOWN_REF) == 8, "as the driver has it");
_Static_assert(sizeof(UNICODE_STRING) == 16, "as the driver has it");
_Static_assert(sizeof(WDF_OBJECT_CONTEXT_TYPE_INFO) == 40, "as the driver has it");
_Static_assert(sizeof(WDF_OBJECT_ATTRIBUTES) == 56, "as the driver has it");
_Static_assert(sizeof(WDF_DRIVER_CONFIG) == 32, "as the driver has it");
_Static_assert(sizeof(WDF_PNPPOWER_EVENT_CALLBACKS) == 144, "as the driver has it");
_Static_assert(sizeof(WDF_IO_QUEUE_CONFIG) == 96, "as the driver has it");

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

void
adapter_unload(void *framework)
{
    framework_unload(framework);
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

#define FUNCTION(Name) { #Name, (void *)(ULONG_PTR)Name }

void *
adapter_redirect(const char *name)
{
    static const struct {
        const char *name;
        void *address;
    } functions[] = {
        FUNCTION(DbgPrintEx), FUNCTION(EtwRegister), FUNCTION(EtwUnregister), FUNCTION(EtwWrite),
        FUNCTION(ExAcquireRundownProtection), FUNCTION(ExFreePool), FUNCTION(ExInitializeRundownProtection),
        FUNCTION(ExReleaseRundownProtection), FUNCTION(ExWaitForRundownProtectionRelease),
        FUNCTION(IoRegisterPlugPlayNotification), FUNCTION(IoUnregisterPlugPlayNotificationEx),
        FUNCTION(KeDeregisterProcessorChangeCallback), FUNCTION(KeGetCurrentProcessorNumberEx),
        FUNCTION(KeGetProcessorIndexFromNumber), FUNCTION(KeGetProcessorNumberFromIndex),
        FUNCTION(KeQueryActiveGroupCount), FUNCTION(KeQueryActiveProcessorCount),
        FUNCTION(KeQueryActiveProcessorCountEx), FUNCTION(KeQueryGroupAffinity),
        FUNCTION(KeQueryMaximumProcessorCountEx), FUNCTION(KeRegisterProcessorChangeCallback),
        FUNCTION(KeReleaseSpinLock), FUNCTION(MmGetSystemRoutineAddress),
        /* The WDK's KeAcquireSpinLock is a macro for this function, whose IRQL is the low byte of the result. */
        { "KeAcquireSpinLockRaiseToDpc", (void *)(ULONG_PTR)machine_spin_acquire }
    };
    ULONG index;

    for (index = 0; index < RTL_NUMBER_OF(functions); index += 1) {
        if (__builtin_strcmp(functions[index].name, name) == 0) {
            return functions[index].address;
        }
    }
    return NULL;
}
