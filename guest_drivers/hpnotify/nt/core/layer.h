/* SPDX-License-Identifier: MIT */
/* The internal interfaces of the NT layer. */
#ifndef NT_LAYER_H
#define NT_LAYER_H

#include <ntddk.h>
#include <wdf.h>

#include "machine.h"

#define LAYER_PROCESSORS 512
#define LAYER_NAME_CHARACTERS 128

struct _DRIVER_OBJECT {
    struct _DRIVER_OBJECT *next;
    char name[CORE_NAME_BYTES];
    WCHAR registry_path[LAYER_NAME_CHARACTERS];
    WDFDRIVER framework;
};

/* processor.c: numbering, counts, the calls of the processor change callbacks. */

struct sync_registration {
    struct sync_registration *next;
    PPROCESSOR_CALLBACK_FUNCTION callback;
    PVOID context;
    /* The processors for which this registration got a Start without an end yet. */
    UCHAR started[LAYER_PROCESSORS];
};

/* The processors that the machine starts with; call first. */
void processor_initialize(const unsigned *given, ULONG count, ULONG most, ULONG size);
void processor_forget(void);
/* The number that the machine's processor has, or -1; a free number for it, or -1; that number is free again. */
int processor_find(unsigned machine);
int processor_take_number(unsigned machine);
void processor_return_number(ULONG n);
BOOLEAN processor_is_active(ULONG n);
/* The machine's own number of a processor. */
unsigned processor_machine(ULONG n);
struct sync_registration *processor_registrations(void);
void processor_deliver(
    struct sync_registration *registration, KE_PROCESSOR_CHANGE_NOTIFY_STATE state, ULONG n, NTSTATUS status,
    PNTSTATUS operation);
void processor_activate(ULONG n);
void processor_deactivate(ULONG n);
ULONG processor_active(void);
/* The two rounds of an addition that drivers may refuse: Starts, and Failures with a status after an error. */
NTSTATUS processor_start_round(ULONG n);
void processor_failure_round(ULONG n, NTSTATUS status);
/* The machine's numbers of the active processors in the mask; returns how many. */
ULONG processor_machines(USHORT group, KAFFINITY mask, unsigned machines[64]);

/* The numbers that a driver can ask for, apart from the active count. */
enum counted { COUNTED_MAXIMUM, COUNTED_GROUPS, COUNTED_GROUP_ZERO };

/*
 * The points at which a plant may deviate from the documented behaviour. That is in documented.c, every deviation is in
 * plants.c, and no other file depends on the selected plant.
 */
struct behaviour {
    const char *name;

    /* The addition of a processor, and each call of a processor change callback. */
    NTSTATUS (*add_start)(ULONG n);
    void (*add_complete)(ULONG n);
    void (*call)(
        struct sync_registration *registration, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS operation);

    /* A registration: whether and how existing processors are reported, and the handling of a refused one. */
    BOOLEAN (*reports_existing)(ULONG flags);
    NTSTATUS (*replay)(struct sync_registration *registration);
    void (*refused)(struct sync_registration *registration);

    /* Within a driver's own code: between the two, a callback does its work. The first says whether it may. */
    BOOLEAN (*work_begins)(void);
    void (*work_ends)(void);

    /* Queries of a driver. */
    KIRQL (*irql)(KIRQL real);
    ULONG (*processor)(ULONG real);
    ULONG (*count)(enum counted what, ULONG real);

    /* Device interfaces: one call of one callback, memory that arrived, and the end of a registration and of tracing. */
    NTSTATUS (*arrival)(
        PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context, DEVICE_INTERFACE_CHANGE_NOTIFICATION *change);
    void (*memory)(ULONG64 start);
    void (*unregistered)(PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context);
    void (*tracing_ends)(void);

    /* Requests to a driver, its devices and its unloading. */
    BOOLEAN (*takes_request)(void);
    BOOLEAN (*takes_part)(struct WDFDEVICE_INIT *node);
    NTSTATUS (*query_stop)(struct WDFDEVICE_INIT *node);
    NTSTATUS (*answer)(UCHAR minor, NTSTATUS status);
    void (*power_off)(struct WDFDEVICE_INIT *node, WDF_POWER_DEVICE_STATE target);
    void (*unload)(WDFDRIVER driver);

    BOOLEAN (*drops_line)(void);
};

/* documented.c */
extern const struct behaviour documented;

/* behaviour.c: NULL until core_initialize or core_plant selects one. */
const struct behaviour *behaviour(void);
void behaviour_select(const struct behaviour *selected);

/* notify.c: device interfaces and their callbacks. */

enum interface_class { INTERFACE_PROCESSOR, INTERFACE_MEMORY };

/* Makes the interface known and delivers its arrival; a known interface is not announced again. */
void notify_arrival(enum interface_class class, ULONG64 identity);

/* The documented behaviour at the points of notify.c. */
NTSTATUS notify_call(
    PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context, DEVICE_INTERFACE_CHANGE_NOTIFICATION *change);
void notify_memory(ULONG64 start);

/* Makes the interface known without an announcement. */
int notify_existing(enum interface_class class, ULONG64 identity);
void notify_forget(void);

/* framework.c */

void framework_delete(WDFDRIVER driver);
void framework_unload(WDFDRIVER driver);
/* The documented behaviour: calls EvtDriverUnload. */
void framework_call_unload(WDFDRIVER driver);
/* The context of the loaded driver that a pointer points into, and its size; NULL if there is none. */
PUCHAR framework_context(const void *inside, size_t *bytes);
NTSTATUS framework_control(
    WDFDRIVER driver, ULONG code, const void *input, size_t input_bytes, void *output, size_t output_bytes,
    ULONG_PTR *information);

/*
 * device.c: a node of the device tree. Adding it makes the driver create a device for it; the framework handles the
 * Plug and Play manager's requests.
 */

struct WDFDEVICE_INIT *node_create(WDFDRIVER driver, const char *hardware, BOOLEAN resources);
NTSTATUS node_add(struct WDFDEVICE_INIT *node);
void node_delete(struct WDFDEVICE_INIT *node);
NTSTATUS device_handle(WDFDEVICE device, UCHAR minor);

/* device.c: the devices of a driver, if it has any; under the lock of the services. */

BOOLEAN devices_exist(void);
NTSTATUS devices_add(WDFDRIVER driver);
void devices_remove(WDFDRIVER driver);
void devices_rebalance(WDFDRIVER driver);
NTSTATUS devices_reenable(WDFDRIVER driver);
/* Whether a rebalance asks the device at all: it does unless the device opted out. */
BOOLEAN device_takes_part(struct WDFDEVICE_INIT *node);
/* Asks whether the device may be stopped, and returns the answer. */
NTSTATUS device_query_stop(struct WDFDEVICE_INIT *node);
/* The device leaves D0, and then its hardware is released. */
void device_power_off(struct WDFDEVICE_INIT *node, WDF_POWER_DEVICE_STATE target);

/* service.c */

void service_rebalance_all(void *unused);

/* thread.c and trace.c: objects that a driver must not leave behind. */

ULONG threads_outstanding(void);
ULONG providers_outstanding(void);

/* registry.c: values by "path\name". */

NTSTATUS registry_set(PCWSTR path, PCUNICODE_STRING name, ULONG type, const void *bytes, ULONG length);
NTSTATUS registry_get(PCWSTR path, PCUNICODE_STRING name, ULONG capacity, void *bytes, PULONG length, PULONG type);
BOOLEAN registry_has(PCWSTR path);
void registry_remove(PCWSTR path);
void registry_forget(void);
BOOLEAN registry_close(HANDLE handle);

/* kernel.c */

ULONG pool_outstanding(void);
void layer_trouble(const char *format, ...) __attribute__((format(printf, 1, 2)));
ULONG wide_length(PCWSTR text);
BOOLEAN wide_equal(PCWSTR one, PCWSTR other);
void wide_append(PWSTR buffer, ULONG capacity, PCWSTR text);
void wide_append_ascii(PWSTR buffer, ULONG capacity, const char *text);

#endif
