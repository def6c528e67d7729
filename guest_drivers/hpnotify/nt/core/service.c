/* SPDX-License-Identifier: MIT */
/* Starting, stopping and controlling drivers by service name. The same driver may run under several names. */
#include "layer.h"

#define STATUS_IMAGE_ALREADY_LOADED ((NTSTATUS)0xC000010E)

extern DRIVER_INITIALIZE DriverEntry;

static PDRIVER_OBJECT services;

static PDRIVER_OBJECT
find(const char *name)
{
    PDRIVER_OBJECT each;

    for (each = services; each != NULL; each = each->next) {
        if (__builtin_strcmp(each->name, name) == 0) {
            return each;
        }
    }
    return NULL;
}

static BOOLEAN
valid_name(const char *name)
{
    ULONG index;

    for (index = 0; index < CORE_NAME_BYTES && name[index] != '\0'; index += 1) {
        if (!((name[index] >= 'a' && name[index] <= 'z') || (name[index] >= 'A' && name[index] <= 'Z') ||
              (name[index] >= '0' && name[index] <= '9') || name[index] == '-' || name[index] == '_')) {
            return FALSE;
        }
    }
    return index != 0 && index < CORE_NAME_BYTES;
}

static NTSTATUS
set_parameters(PDRIVER_OBJECT service, const struct core_value *values, unsigned count)
{
    WCHAR path[LAYER_NAME_CHARACTERS] = { 0 };
    WCHAR buffer[CORE_NAME_BYTES];
    UNICODE_STRING name;
    NTSTATUS status = STATUS_SUCCESS;
    unsigned index;

    wide_append(path, LAYER_NAME_CHARACTERS, service->registry_path);
    wide_append_ascii(path, LAYER_NAME_CHARACTERS, "\\Parameters");
    registry_remove(path);
    for (index = 0; index < count && NT_SUCCESS(status); index += 1) {
        buffer[0] = 0;
        wide_append_ascii(buffer, CORE_NAME_BYTES, values[index].name);
        RtlInitUnicodeString(&name, buffer);
        status = registry_set(path, &name, REG_DWORD, &values[index].value, sizeof(values[index].value));
    }
    return status;
}

static void
end_service(PDRIVER_OBJECT service)
{
    PDRIVER_OBJECT *link;

    for (link = &services; *link != NULL && *link != service; link = &(*link)->next) {
    }
    if (*link != NULL) {
        *link = service->next;
    }
    if (service->framework != NULL) {
        framework_delete(service->framework);
    }
    machine_free(service);
    if (services == NULL && (pool_outstanding() != 0 || threads_outstanding() != 0 || providers_outstanding() != 0)) {
        layer_trouble(
            "left behind: %u pool allocations, %u threads, %u trace providers", pool_outstanding(),
            threads_outstanding(), providers_outstanding());
    }
}

static PDRIVER_OBJECT
create_service(const char *name)
{
    PDRIVER_OBJECT service = machine_allocate(sizeof(*service));

    if (service != NULL) {
        __builtin_strcpy(service->name, name);
        wide_append_ascii(
            service->registry_path, LAYER_NAME_CHARACTERS, "\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services\\");
        wide_append_ascii(service->registry_path, LAYER_NAME_CHARACTERS, name);
    }
    return service;
}

static NTSTATUS
load(PDRIVER_OBJECT service, const struct core_value *values, unsigned count)
{
    UNICODE_STRING path;
    NTSTATUS status;

    RtlInitUnicodeString(&path, service->registry_path);
    status = set_parameters(service, values, count);
    if (NT_SUCCESS(status)) {
        status = DriverEntry(service, &path);
    }
    if (NT_SUCCESS(status)) {
        status = devices_add(service->framework);
        if (!NT_SUCCESS(status)) {
            framework_unload(service->framework);
        }
    }
    return status;
}

/* A request to a driver's device, and how much it answered. */
struct request {
    unsigned code;
    const void *input;
    unsigned long input_bytes;
    void *output;
    unsigned long output_bytes;
    ULONG_PTR information;
};

typedef NTSTATUS service_act(PDRIVER_OBJECT service, struct request *request);

/* Finds the service and acts on it, while no other call can change or end it. */
static int
with_service(const char *name, service_act *act, struct request *request)
{
    PDRIVER_OBJECT service;
    NTSTATUS status;

    machine_lock(MACHINE_MUTEX_SERVICE);
    service = find(name);
    status = service != NULL ? act(service, request) : STATUS_OBJECT_NAME_NOT_FOUND;
    machine_unlock(MACHINE_MUTEX_SERVICE);
    return status;
}

static NTSTATUS
start(const char *name, const struct core_value *values, unsigned count)
{
    PDRIVER_OBJECT service;
    NTSTATUS status;

    if (find(name) != NULL) {
        return STATUS_IMAGE_ALREADY_LOADED;
    }
    service = create_service(name);
    if (service == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    status = load(service, values, count);
    if (NT_SUCCESS(status)) {
        service->next = services;
        services = service;
    } else {
        end_service(service);
    }
    return status;
}

static NTSTATUS
stop(PDRIVER_OBJECT service, struct request *request)
{
    UNREFERENCED_PARAMETER(request);
    devices_remove(service->framework);
    framework_unload(service->framework);
    end_service(service);
    return STATUS_SUCCESS;
}

static NTSTATUS
rebalance(PDRIVER_OBJECT service, struct request *request)
{
    UNREFERENCED_PARAMETER(request);
    devices_rebalance(service->framework);
    return STATUS_SUCCESS;
}

static NTSTATUS
reenable(PDRIVER_OBJECT service, struct request *request)
{
    UNREFERENCED_PARAMETER(request);
    return devices_reenable(service->framework);
}

static NTSTATUS
control(PDRIVER_OBJECT service, struct request *request)
{
    return framework_control(
        service->framework, request->code, request->input, request->input_bytes, request->output, request->output_bytes,
        &request->information);
}

int
core_service_start(const char *name, const struct core_value *values, unsigned count)
{
    NTSTATUS status;

    if (!valid_name(name) || count > CORE_VALUES) {
        return STATUS_INVALID_PARAMETER;
    }
    machine_lock(MACHINE_MUTEX_SERVICE);
    status = start(name, values, count);
    machine_unlock(MACHINE_MUTEX_SERVICE);
    return status;
}

int
core_service_stop(const char *name)
{
    return with_service(name, stop, NULL);
}

int
core_service_rebalance(const char *name)
{
    return with_service(name, rebalance, NULL);
}

int
core_service_reenable(const char *name)
{
    return with_service(name, reenable, NULL);
}

int
core_service_control(
    const char *name, unsigned code, const void *input, unsigned long input_bytes, void *output,
    unsigned long output_bytes, unsigned long *information)
{
    struct request request = { code, input, input_bytes, output, output_bytes, 0 };
    int status = with_service(name, control, &request);

    *information = request.information;
    return status;
}

void
service_rebalance_all(void *unused)
{
    PDRIVER_OBJECT each;

    UNREFERENCED_PARAMETER(unused);
    machine_lock(MACHINE_MUTEX_SERVICE);
    for (each = services; each != NULL; each = each->next) {
        devices_rebalance(each->framework);
    }
    machine_unlock(MACHINE_MUTEX_SERVICE);
}
