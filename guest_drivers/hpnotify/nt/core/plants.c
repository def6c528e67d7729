/* SPDX-License-Identifier: MIT */
/*
 * Plants: every deviation from the documented behaviour that the NT layer can be told to show, so that the checker
 * can be seen to fail. Each is a variation of `documented`; nothing outside this file knows them. All act on the
 * addition of a processor, except existing-interleaved, which acts on registration, and the last two, which act on the
 * devices of a Plug and Play driver.
 */
#include "object.h"

static void
deliver_all(KE_PROCESSOR_CHANGE_NOTIFY_STATE state, ULONG n)
{
    struct sync_registration *each;

    for (each = processor_registrations(); each != NULL; each = each->next) {
        processor_deliver(each, state, n, STATUS_SUCCESS, NULL);
    }
}

static void
forget_starts(ULONG n)
{
    struct sync_registration *each;

    for (each = processor_registrations(); each != NULL; each = each->next) {
        each->started[n] = FALSE;
    }
}

/* complete-before-start: Complete is delivered first, then Start. */

static NTSTATUS
complete_before_start_start(ULONG n)
{
    UNREFERENCED_PARAMETER(n);
    return STATUS_SUCCESS;
}

static void
complete_before_start_complete(ULONG n)
{
    processor_activate(n);
    deliver_all(KeProcessorAddCompleteNotify, n);
    deliver_all(KeProcessorAddStartNotify, n);
    forget_starts(n);
}

/* duplicate-start: every registration gets Start twice. */

static NTSTATUS
duplicate_start_start(ULONG n)
{
    NTSTATUS status = documented.add_start(n);

    if (NT_SUCCESS(status)) {
        deliver_all(KeProcessorAddStartNotify, n);
    }
    return status;
}

/* missing-complete: the processor runs and is counted, and nobody is told. */

static void
missing_complete_complete(ULONG n)
{
    processor_activate(n);
    forget_starts(n);
}

/* wrong-irql: the callbacks of the addition believe that they run at DISPATCH_LEVEL. */

static unsigned long raised_thread;

static NTSTATUS
wrong_irql_start(ULONG n)
{
    NTSTATUS status;

    __atomic_store_n(&raised_thread, machine_thread(), __ATOMIC_SEQ_CST);
    status = documented.add_start(n);
    __atomic_store_n(&raised_thread, 0, __ATOMIC_SEQ_CST);
    return status;
}

static KIRQL
wrong_irql_irql(KIRQL real)
{
    unsigned long raised = __atomic_load_n(&raised_thread, __ATOMIC_SEQ_CST);

    return real < DISPATCH_LEVEL && raised != 0 && raised == machine_thread() ? DISPATCH_LEVEL : real;
}

/* complete-uncounted: Complete is delivered before the counts include the processor. */

static void
complete_uncounted_complete(ULONG n)
{
    deliver_all(KeProcessorAddCompleteNotify, n);
    processor_activate(n);
}

/* async-before-start: the interface arrival comes before Start. */

static NTSTATUS
async_before_start_start(ULONG n)
{
    processor_announce_now(n);
    return documented.add_start(n);
}

/* existing-interleaved: Start and Complete processor by processor instead of all Starts first. */

static NTSTATUS
existing_interleaved_replay(struct sync_registration *registration)
{
    NTSTATUS operation = STATUS_SUCCESS;
    ULONG n;

    for (n = 0; n < processor_active() && NT_SUCCESS(operation); n += 1) {
        processor_deliver(registration, KeProcessorAddStartNotify, n, STATUS_SUCCESS, &operation);
        if (NT_SUCCESS(operation)) {
            processor_deliver(registration, KeProcessorAddCompleteNotify, n, STATUS_SUCCESS, NULL);
        }
    }
    return operation;
}

/* lost-line: the line that tells of Complete never reaches the debug port. */

static unsigned lines_to_drop;

static void
lost_line_complete(ULONG n)
{
    __atomic_store_n(&lines_to_drop, 1, __ATOMIC_SEQ_CST);
    documented.add_complete(n);
    __atomic_store_n(&lines_to_drop, 0, __ATOMIC_SEQ_CST);
}

static BOOLEAN
lost_line_drops_line(void)
{
    return __atomic_exchange_n(&lines_to_drop, 0, __ATOMIC_SEQ_CST) != 0;
}

/* reset-mid-attempt: the machine resets itself between Start and Complete. */

static NTSTATUS
reset_mid_attempt_start(ULONG n)
{
    NTSTATUS status = documented.add_start(n);

    machine_reset();
    return status;
}

/* stop-unasked: a device with resources is stopped without being asked whether it can be. */

static NTSTATUS
stop_unasked_query_stop(struct WDFDEVICE_INIT *node)
{
    return node->resources ? STATUS_SUCCESS : documented.query_stop(node);
}

/* early-release: the hardware is released while the device is still powered. */

static void
early_release_power_off(struct WDFDEVICE_INIT *node, WDF_POWER_DEVICE_STATE target)
{
    WDFDEVICE device = (WDFDEVICE)node->device;

    (void)node->callbacks.EvtDeviceReleaseHardware(device, NULL);
    (void)node->callbacks.EvtDeviceD0Exit(device, target);
}

static struct behaviour planted;
static const struct behaviour *current = &documented;

static const struct behaviour plants[] = {
    { .name = "none" },
    { .name = "complete-before-start",
      .add_start = complete_before_start_start,
      .add_complete = complete_before_start_complete },
    { .name = "duplicate-start", .add_start = duplicate_start_start },
    { .name = "missing-complete", .add_complete = missing_complete_complete },
    { .name = "wrong-irql", .add_start = wrong_irql_start, .irql = wrong_irql_irql },
    { .name = "complete-uncounted", .add_complete = complete_uncounted_complete },
    { .name = "async-before-start", .add_start = async_before_start_start },
    { .name = "existing-interleaved", .replay = existing_interleaved_replay },
    { .name = "lost-line", .add_complete = lost_line_complete, .drops_line = lost_line_drops_line },
    { .name = "reset-mid-attempt", .add_start = reset_mid_attempt_start },
    { .name = "stop-unasked", .query_stop = stop_unasked_query_stop },
    { .name = "early-release", .power_off = early_release_power_off },
};

const struct behaviour *
behaviour(void)
{
    return __atomic_load_n(&current, __ATOMIC_ACQUIRE);
}

const char *
core_plant_name(void)
{
    return behaviour()->name;
}

/* Select a plant only while no driver is loaded: what is running keeps the behaviour it began with. */
int
core_plant(const char *name)
{
    const struct behaviour *plant;
    ULONG index;

    for (index = 0; index < RTL_NUMBER_OF(plants); index += 1) {
        plant = &plants[index];
        if (__builtin_strcmp(plant->name, name) != 0) {
            continue;
        }
        __atomic_store_n(&current, &documented, __ATOMIC_RELEASE);
        if (index != 0) {
            planted = documented;
            planted.name = plant->name;
            planted.add_start = plant->add_start != NULL ? plant->add_start : documented.add_start;
            planted.add_complete = plant->add_complete != NULL ? plant->add_complete : documented.add_complete;
            planted.replay = plant->replay != NULL ? plant->replay : documented.replay;
            planted.drops_line = plant->drops_line != NULL ? plant->drops_line : documented.drops_line;
            planted.irql = plant->irql != NULL ? plant->irql : documented.irql;
            planted.query_stop = plant->query_stop != NULL ? plant->query_stop : documented.query_stop;
            planted.power_off = plant->power_off != NULL ? plant->power_off : documented.power_off;
            __atomic_store_n(&current, &planted, __ATOMIC_RELEASE);
        }
        return 0;
    }
    return -1;
}
