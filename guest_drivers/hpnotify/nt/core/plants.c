/* SPDX-License-Identifier: MIT */
/*
 * Plants: all injectable faults of the NT layer, each a deviation from the documented behaviour that the checker must
 * find. Each is a variation of `documented`; the code outside this file is independent of them. They come in the order
 * of the rules: the addition of a processor, its failure, registration, processor numbers, device interfaces, memory
 * and rebalance, and last faults that look like the driver's own.
 */
#include "object.h"

#include <poclass.h>
#include <wdmguid.h>

static void
deliver_all_with(KE_PROCESSOR_CHANGE_NOTIFY_STATE state, ULONG n, NTSTATUS status)
{
    struct sync_registration *each;

    for (each = processor_registrations(); each != NULL; each = each->next) {
        processor_deliver(each, state, n, status, NULL);
    }
}

static void
deliver_all(KE_PROCESSOR_CHANGE_NOTIFY_STATE state, ULONG n)
{
    deliver_all_with(state, n, STATUS_SUCCESS);
}

static void
forget_starts(ULONG n)
{
    struct sync_registration *each;

    for (each = processor_registrations(); each != NULL; each = each->next) {
        each->started[n] = FALSE;
    }
}

/* Nothing is delivered yet. */
static NTSTATUS
no_start(ULONG n)
{
    UNREFERENCED_PARAMETER(n);
    return STATUS_SUCCESS;
}

/* complete-before-start: Complete is delivered first, then Start. */

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

/* missing-complete: the processor runs and is counted, without a notification. */

static void
missing_complete_complete(ULONG n)
{
    processor_activate(n);
    forget_starts(n);
}

/* wrong-irql: the callbacks of the addition see DISPATCH_LEVEL as their IRQL. */

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
    notify_arrival(INTERFACE_PROCESSOR, processor_machine(n));
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

/* lost-line: the line that reports Complete never reaches the debug port. */

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

/* unknown-state: after Complete comes a call with an unknown state. */

static void
unknown_state_complete(ULONG n)
{
    documented.add_complete(n);
    deliver_all((KE_PROCESSOR_CHANGE_NOTIFY_STATE)3, n);
    forget_starts(n);
}

/* moved-context: callbacks get a copy of what was registered as their context. */

static void
moved_context_call(
    struct sync_registration *registration, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS operation)
{
    size_t bytes = 0;
    PUCHAR context = framework_context(registration->context, &bytes);
    PUCHAR copy = context != NULL ? machine_allocate(bytes) : NULL;

    if (copy == NULL) {
        documented.call(registration, change, operation);
        return;
    }
    RtlCopyMemory(copy, context, bytes);
    registration->callback(copy + ((PUCHAR)registration->context - context), change, operation);
    machine_free(copy);
}

/* failed-and-completed: a processor that runs is reported as failed, and then as completed. */

static void
failed_and_completed_complete(ULONG n)
{
    processor_activate(n);
    processor_failure_round(n, STATUS_UNSUCCESSFUL);
    deliver_all(KeProcessorAddCompleteNotify, n);
}

/* forgotten-driver: only the callback that was registered first is called. */

static NTSTATUS
forgotten_driver_start(ULONG n)
{
    NTSTATUS operation = STATUS_SUCCESS;

    if (processor_registrations() != NULL) {
        processor_deliver(processor_registrations(), KeProcessorAddStartNotify, n, STATUS_SUCCESS, &operation);
    }
    return operation;
}

/* told-apart: the callback that was registered first gets Failure, the others Complete. */

static void
told_apart_complete(ULONG n)
{
    struct sync_registration *each;

    processor_activate(n);
    for (each = processor_registrations(); each != NULL; each = each->next) {
        if (each == processor_registrations()) {
            processor_deliver(each, KeProcessorAddFailureNotify, n, STATUS_UNSUCCESSFUL, NULL);
        } else {
            processor_deliver(each, KeProcessorAddCompleteNotify, n, STATUS_SUCCESS, NULL);
        }
    }
}

/* no-barrier: each callback gets its Start and its Complete before the next one gets its Start. */

static void
no_barrier_complete(ULONG n)
{
    struct sync_registration *each;

    processor_activate(n);
    for (each = processor_registrations(); each != NULL; each = each->next) {
        processor_deliver(each, KeProcessorAddStartNotify, n, STATUS_SUCCESS, NULL);
        processor_deliver(each, KeProcessorAddCompleteNotify, n, STATUS_SUCCESS, NULL);
    }
}

/* another-number: Complete of an added processor names the group and number of the first processor. */

static BOOLEAN adding;

static void
another_number_complete(ULONG n)
{
    __atomic_store_n(&adding, TRUE, __ATOMIC_SEQ_CST);
    documented.add_complete(n);
    __atomic_store_n(&adding, FALSE, __ATOMIC_SEQ_CST);
}

static void
another_number_call(
    struct sync_registration *registration, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS operation)
{
    if (__atomic_load_n(&adding, __ATOMIC_SEQ_CST)) {
        change->ProcNumber.Group = 0;
        change->ProcNumber.Number = 0;
    }
    documented.call(registration, change, operation);
}

/* runs-early: drivers run on the new processor while it is being announced. */

static unsigned long early_thread;
static ULONG early_processor;

static NTSTATUS
runs_early_start(ULONG n)
{
    NTSTATUS status;

    early_processor = n;
    __atomic_store_n(&early_thread, machine_thread(), __ATOMIC_SEQ_CST);
    status = documented.add_start(n);
    __atomic_store_n(&early_thread, 0, __ATOMIC_SEQ_CST);
    return status;
}

static ULONG
runs_early_processor(ULONG real)
{
    unsigned long early = __atomic_load_n(&early_thread, __ATOMIC_SEQ_CST);

    return early != 0 && early == machine_thread() ? early_processor : real;
}

/* failure-before-start: a processor fails before it is announced. */

static NTSTATUS
failure_before_start_start(ULONG n)
{
    deliver_all_with(KeProcessorAddFailureNotify, n, STATUS_UNSUCCESSFUL);
    return documented.add_start(n);
}

/* failure-without-reason: the status of Failure is not an error. */

static NTSTATUS
failure_without_reason_start(ULONG n)
{
    NTSTATUS operation = processor_start_round(n);

    if (!NT_SUCCESS(operation)) {
        processor_failure_round(n, STATUS_SUCCESS);
    }
    return operation;
}

/* counted-at-failure: a processor that was refused is active until its Failures were delivered. */

static NTSTATUS
counted_at_failure_start(ULONG n)
{
    NTSTATUS operation = processor_start_round(n);

    if (!NT_SUCCESS(operation)) {
        processor_activate(n);
        processor_failure_round(n, operation);
        processor_deactivate(n);
    }
    return operation;
}

/* completed-after-veto: every callback that got a Start for a refused processor gets Complete. */

static NTSTATUS
completed_after_veto_start(ULONG n)
{
    NTSTATUS operation = processor_start_round(n);

    if (!NT_SUCCESS(operation)) {
        deliver_all(KeProcessorAddCompleteNotify, n);
    }
    return operation;
}

/* missing-failure: a vetoed processor gets no Failure. */

static NTSTATUS
missing_failure_start(ULONG n)
{
    NTSTATUS operation = processor_start_round(n);

    forget_starts(n);
    return operation;
}

/* existing-again: before a new processor is announced, the first one is reported once more. */

static NTSTATUS
existing_again_start(ULONG n)
{
    deliver_all(KeProcessorAddStartNotify, 0);
    deliver_all(KeProcessorAddCompleteNotify, 0);
    return documented.add_start(n);
}

/* The rounds of a registration for the first `starts` processors, with Completes for the first `completes`. */
static NTSTATUS
replay_some(struct sync_registration *registration, ULONG starts, ULONG completes)
{
    NTSTATUS operation = STATUS_SUCCESS;
    ULONG n;

    for (n = 0; n < starts && NT_SUCCESS(operation); n += 1) {
        processor_deliver(registration, KeProcessorAddStartNotify, n, STATUS_SUCCESS, &operation);
    }
    for (n = 0; n < completes && NT_SUCCESS(operation); n += 1) {
        processor_deliver(registration, KeProcessorAddCompleteNotify, n, STATUS_SUCCESS, NULL);
    }
    return operation;
}

/* existing-missed: a registration does not get the last existing processor. */

static NTSTATUS
existing_missed_replay(struct sync_registration *registration)
{
    return replay_some(registration, processor_active() - 1, processor_active() - 1);
}

/* existing-unfinished: the last existing processor gets no Complete. */

static NTSTATUS
existing_unfinished_replay(struct sync_registration *registration)
{
    return replay_some(registration, processor_active(), processor_active() - 1);
}

/* existing-goes-on: the Starts of a registration go on after an error. */

static NTSTATUS
existing_goes_on_replay(struct sync_registration *registration)
{
    NTSTATUS operation = STATUS_SUCCESS;
    ULONG n;

    for (n = 0; n < processor_active(); n += 1) {
        processor_deliver(registration, KeProcessorAddStartNotify, n, STATUS_SUCCESS, &operation);
    }
    for (n = 0; n < processor_active(); n += 1) {
        processor_deliver(
            registration, NT_SUCCESS(operation) ? KeProcessorAddCompleteNotify : KeProcessorAddFailureNotify, n, operation,
            NULL);
    }
    return operation;
}

/* existing-not-failed: after an error there is no Failure for the processors already started. */

static NTSTATUS
existing_not_failed_replay(struct sync_registration *registration)
{
    return replay_some(registration, processor_active(), processor_active());
}

/* refused-called: a failed registration is called for the next processor, if its driver is still loaded. */

static struct sync_registration *kept;

static void
refused_called_refused(struct sync_registration *registration)
{
    machine_free(__atomic_exchange_n(&kept, registration, __ATOMIC_SEQ_CST));
}

static void
refused_called_forget(void)
{
    machine_free(__atomic_exchange_n(&kept, NULL, __ATOMIC_SEQ_CST));
}

static NTSTATUS
refused_called_start(ULONG n)
{
    struct sync_registration *refused = __atomic_exchange_n(&kept, NULL, __ATOMIC_SEQ_CST);
    size_t bytes;

    if (refused != NULL && framework_context(refused->context, &bytes) != NULL) {
        processor_deliver(refused, KeProcessorAddStartNotify, n, STATUS_SUCCESS, NULL);
    }
    machine_free(refused);
    return documented.add_start(n);
}

/* existing-unasked: existing processors are reported to a registration that did not request them. */

static BOOLEAN
existing_unasked_reports_existing(ULONG flags)
{
    UNREFERENCED_PARAMETER(flags);
    return TRUE;
}

/* others-told: a registration's notifications of the first existing processor are first delivered to all others. */

static NTSTATUS
others_told_replay(struct sync_registration *registration)
{
    deliver_all(KeProcessorAddStartNotify, 0);
    deliver_all(KeProcessorAddCompleteNotify, 0);
    return documented.replay(registration);
}

/* The Starts of added processors name another place. */

static NTSTATUS
marked_start(ULONG n)
{
    NTSTATUS status;

    __atomic_store_n(&adding, TRUE, __ATOMIC_SEQ_CST);
    status = documented.add_start(n);
    __atomic_store_n(&adding, FALSE, __ATOMIC_SEQ_CST);
    return status;
}

/* impossible-number: number 64 of a group, which has 0 to 63. */

static void
impossible_number_call(
    struct sync_registration *registration, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS operation)
{
    if (__atomic_load_n(&adding, __ATOMIC_SEQ_CST)) {
        change->ProcNumber.Number = 64;
    }
    documented.call(registration, change, operation);
}

/* second-group: group 1 on a machine that has one group. */

static void
second_group_call(
    struct sync_registration *registration, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS operation)
{
    if (__atomic_load_n(&adding, __ATOMIC_SEQ_CST)) {
        change->ProcNumber.Group = 1;
    }
    documented.call(registration, change, operation);
}

/* number-again: every added processor is given the number of the first that was added. */

static ULONG number_given;

static NTSTATUS
number_again_start(ULONG n)
{
    if (number_given == 0) {
        number_given = n;
    }
    return documented.add_start(number_given);
}

static void
number_again_complete(ULONG n)
{
    processor_activate(n);
    deliver_all(KeProcessorAddCompleteNotify, number_given);
}

/* growing-maximum: the maximum grows with the active count. */

static ULONG
growing_maximum_count(enum counted what, ULONG real)
{
    return what == COUNTED_MAXIMUM ? real + processor_active() : real;
}

/* falling-groups: the number of groups falls as the active count grows. */

static ULONG
falling_groups_count(enum counted what, ULONG real)
{
    return what == COUNTED_GROUPS ? real + LAYER_PROCESSORS - processor_active() : real;
}

/* legacy-count: the routine that knows only group 0 counts one processor too many. */

static ULONG
legacy_count_count(enum counted what, ULONG real)
{
    return what == COUNTED_GROUP_ZERO ? real + 1 : real;
}

/* arrival-raised: arrivals are delivered as if at DISPATCH_LEVEL. */

static NTSTATUS
arrival_raised_arrival(
    PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context, DEVICE_INTERFACE_CHANGE_NOTIFICATION *change)
{
    NTSTATUS status;

    __atomic_store_n(&raised_thread, machine_thread(), __ATOMIC_SEQ_CST);
    status = documented.arrival(callback, context, change);
    __atomic_store_n(&raised_thread, 0, __ATOMIC_SEQ_CST);
    return status;
}

/* arrival-version: the structure of an arrival has version 2. */

static NTSTATUS
arrival_version_arrival(
    PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context, DEVICE_INTERFACE_CHANGE_NOTIFICATION *change)
{
    change->Version = 2;
    return documented.arrival(callback, context, change);
}

/* arrival-misrouted: an arrival of a processor names the class of memory, and vice versa. */

static NTSTATUS
arrival_misrouted_arrival(
    PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context, DEVICE_INTERFACE_CHANGE_NOTIFICATION *change)
{
    change->InterfaceClassGuid =
        IsEqualGUID(&change->InterfaceClassGuid, &GUID_DEVICE_PROCESSOR) ? GUID_DEVICE_MEMORY : GUID_DEVICE_PROCESSOR;
    return documented.arrival(callback, context, change);
}

/* arrival-thrice: every arrival is delivered three times. */

static NTSTATUS
arrival_thrice_arrival(
    PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context, DEVICE_INTERFACE_CHANGE_NOTIFICATION *change)
{
    (void)documented.arrival(callback, context, change);
    (void)documented.arrival(callback, context, change);
    return documented.arrival(callback, context, change);
}

/*
 * late-arrival: a driver that unregistered last gets one more interface while it ends its tracing: until then its
 * registered context is valid.
 */

static PDRIVER_NOTIFICATION_CALLBACK_ROUTINE left_callback;
static PVOID left_context;

static void
late_arrival_unregistered(PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context)
{
    left_callback = callback;
    left_context = context;
}

static void
late_arrival_tracing_ends(void)
{
    static WCHAR name[] = L"\\??\\ACPI#ACPI0007#late";
    DEVICE_INTERFACE_CHANGE_NOTIFICATION change;
    UNICODE_STRING link;
    size_t bytes;

    if (left_callback != NULL && framework_context(left_context, &bytes) != NULL) {
        RtlInitUnicodeString(&link, name);
        RtlZeroMemory(&change, sizeof(change));
        change.Version = 1;
        change.Size = sizeof(change);
        change.Event = GUID_DEVICE_INTERFACE_ARRIVAL;
        change.InterfaceClassGuid = GUID_DEVICE_PROCESSOR;
        change.SymbolicLinkName = &link;
        (void)left_callback(&change, left_context);
    }
    left_callback = NULL;
}

/* memory-as-processor: with memory a processor is announced, which then fails. */

static void
memory_as_processor_memory(ULONG64 start)
{
    ULONG n = processor_active();

    deliver_all(KeProcessorAddStartNotify, n);
    processor_failure_round(n, STATUS_UNSUCCESSFUL);
    documented.memory(start);
}

/* memory-brings-processor: with memory the interface of a processor arrives. */

static void
memory_brings_processor_memory(ULONG64 start)
{
    notify_arrival(INTERFACE_PROCESSOR, start);
    documented.memory(start);
}

/*
 * The following faults need particular operations in a particular order: `reached` counts those that came. Each works
 * as documented until then.
 */

static ULONG reached;

static void
reach(ULONG step)
{
    if (__atomic_load_n(&reached, __ATOMIC_SEQ_CST) + 1 == step) {
        __atomic_store_n(&reached, step, __ATOMIC_SEQ_CST);
    }
}

static BOOLEAN
has_reached(ULONG step)
{
    return __atomic_load_n(&reached, __ATOMIC_SEQ_CST) == step;
}

static void
first_memory_memory(ULONG64 start)
{
    reach(1);
    documented.memory(start);
}

static void
second_memory_memory(ULONG64 start)
{
    reach(2);
    documented.memory(start);
}

/* second-start-after-memory: a processor that comes after memory gets Start twice. */

static NTSTATUS
second_start_after_memory_start(ULONG n)
{
    return has_reached(1) ? duplicate_start_start(n) : documented.add_start(n);
}

/* no-complete-after-memory: a processor that comes after memory that came after a processor gets no Complete. */

static void
no_complete_after_memory_complete(ULONG n)
{
    if (has_reached(2)) {
        missing_complete_complete(n);
        return;
    }
    documented.add_complete(n);
    reach(1);
}

/* swapped-after-refusal: Complete comes before Start for a processor after memory that came after a refused one. */

static NTSTATUS
swapped_after_refusal_start(ULONG n)
{
    NTSTATUS status;

    if (has_reached(2)) {
        return no_start(n);
    }
    status = documented.add_start(n);
    if (!NT_SUCCESS(status)) {
        reach(1);
    }
    return status;
}

static void
swapped_after_refusal_complete(ULONG n)
{
    if (has_reached(2)) {
        complete_before_start_complete(n);
    } else {
        documented.add_complete(n);
    }
}

/* opt-out-ignored: a device is asked to stop although it opted out. */

static BOOLEAN
opt_out_ignored_takes_part(struct WDFDEVICE_INIT *node)
{
    UNREFERENCED_PARAMETER(node);
    return TRUE;
}

/*
 * The following faults look like the driver's own: the callback's arguments change during the call, between the record
 * of its entry and that of its exit.
 */

static unsigned long working_thread;
static PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT working_change;
static PNTSTATUS working_operation;

static void
watched_call(
    struct sync_registration *registration, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS operation)
{
    working_change = change;
    working_operation = operation;
    __atomic_store_n(&working_thread, machine_thread(), __ATOMIC_SEQ_CST);
    documented.call(registration, change, operation);
    __atomic_store_n(&working_thread, 0, __ATOMIC_SEQ_CST);
}

/* Returns whether this thread is in a callback for the given state. */
static BOOLEAN
working(KE_PROCESSOR_CHANGE_NOTIFY_STATE state)
{
    unsigned long thread = __atomic_load_n(&working_thread, __ATOMIC_SEQ_CST);

    return thread != 0 && thread == machine_thread() && working_change->State == state;
}

/* raised-unload: the driver is unloaded as if at DISPATCH_LEVEL. */

static void
raised_unload_unload(WDFDRIVER driver)
{
    __atomic_store_n(&raised_thread, machine_thread(), __ATOMIC_SEQ_CST);
    documented.unload(driver);
    __atomic_store_n(&raised_thread, 0, __ATOMIC_SEQ_CST);
}

/* status-in-complete: a callback leaves an error behind in Complete. */

static BOOLEAN
status_in_complete_work_begins(void)
{
    if (working(KeProcessorAddCompleteNotify)) {
        *working_operation = STATUS_UNSUCCESSFUL;
    }
    return TRUE;
}

/* error-overwritten: a callback replaces the error of another. */

static BOOLEAN
error_overwritten_work_begins(void)
{
    if (working(KeProcessorAddStartNotify) && !NT_SUCCESS(*working_operation)) {
        *working_operation = STATUS_UNSUCCESSFUL;
    }
    return TRUE;
}

/* context-changed: a callback changes its arguments in Complete. */

static BOOLEAN
context_changed_work_begins(void)
{
    if (working(KeProcessorAddCompleteNotify)) {
        working_change->Status = STATUS_UNSUCCESSFUL;
    }
    return TRUE;
}

/* failure-unheeded: a callback does nothing in Failure. */

static BOOLEAN
failure_unheeded_work_begins(void)
{
    return !working(KeProcessorAddFailureNotify);
}

/* unclean-veto: the very first Start ends with an error that the driver did not set. */

static BOOLEAN vetoed;

static void
unclean_veto_work_ends(void)
{
    if (working(KeProcessorAddStartNotify) && !vetoed) {
        vetoed = TRUE;
        *working_operation = STATUS_INSUFFICIENT_RESOURCES;
    }
}

/* thread-before-complete: a callback treats a second Start of an existing processor as its Complete. */

static BOOLEAN mistaken;

static NTSTATUS
thread_before_complete_replay(struct sync_registration *registration)
{
    NTSTATUS operation = STATUS_SUCCESS;

    processor_deliver(registration, KeProcessorAddStartNotify, 0, STATUS_SUCCESS, &operation);
    mistaken = TRUE;
    processor_deliver(registration, KeProcessorAddStartNotify, 0, STATUS_SUCCESS, &operation);
    return documented.replay(registration);
}

static BOOLEAN
thread_before_complete_work_begins(void)
{
    if (mistaken && working(KeProcessorAddStartNotify)) {
        working_change->State = KeProcessorAddCompleteNotify;
    }
    return TRUE;
}

static void
thread_before_complete_work_ends(void)
{
    if (mistaken && working(KeProcessorAddCompleteNotify)) {
        working_change->State = KeProcessorAddStartNotify;
        mistaken = FALSE;
    }
}

/* requests-lost: every request to the driver is answered, but none reaches it. */

static BOOLEAN
requests_lost_takes_request(void)
{
    return FALSE;
}

/* stop-refused: a device refuses to be stopped. */

static NTSTATUS
stop_refused_answer(UCHAR minor, NTSTATUS status)
{
    return minor == IRP_MN_QUERY_STOP_DEVICE ? STATUS_UNSUCCESSFUL : status;
}

static struct behaviour planted;

static const struct behaviour plants[] = {
    { .name = "none" },
    { .name = "complete-before-start",
      .add_start = no_start,
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
    { .name = "unknown-state", .add_complete = unknown_state_complete },
    { .name = "moved-context", .call = moved_context_call },
    { .name = "failed-and-completed", .add_complete = failed_and_completed_complete },
    { .name = "forgotten-driver", .add_start = forgotten_driver_start },
    { .name = "told-apart", .add_complete = told_apart_complete },
    { .name = "no-barrier", .add_start = no_start, .add_complete = no_barrier_complete },
    { .name = "another-number", .add_complete = another_number_complete, .call = another_number_call },
    { .name = "runs-early", .add_start = runs_early_start, .processor = runs_early_processor },
    { .name = "failure-before-start", .add_start = failure_before_start_start },
    { .name = "failure-without-reason", .add_start = failure_without_reason_start },
    { .name = "counted-at-failure", .add_start = counted_at_failure_start },
    { .name = "completed-after-veto", .add_start = completed_after_veto_start },
    { .name = "missing-failure", .add_start = missing_failure_start },
    { .name = "existing-again", .add_start = existing_again_start },
    { .name = "existing-missed", .replay = existing_missed_replay },
    { .name = "existing-unfinished", .replay = existing_unfinished_replay },
    { .name = "existing-goes-on", .replay = existing_goes_on_replay },
    { .name = "existing-not-failed", .replay = existing_not_failed_replay },
    { .name = "refused-called",
      .refused = refused_called_refused,
      .add_start = refused_called_start,
      .tracing_ends = refused_called_forget },
    { .name = "existing-unasked", .reports_existing = existing_unasked_reports_existing },
    { .name = "others-told", .replay = others_told_replay },
    { .name = "impossible-number", .add_start = marked_start, .call = impossible_number_call },
    { .name = "second-group", .add_start = marked_start, .call = second_group_call },
    { .name = "number-again", .add_start = number_again_start, .add_complete = number_again_complete },
    { .name = "growing-maximum", .count = growing_maximum_count },
    { .name = "falling-groups", .count = falling_groups_count },
    { .name = "legacy-count", .count = legacy_count_count },
    { .name = "arrival-raised", .arrival = arrival_raised_arrival, .irql = wrong_irql_irql },
    { .name = "arrival-version", .arrival = arrival_version_arrival },
    { .name = "arrival-misrouted", .arrival = arrival_misrouted_arrival },
    { .name = "arrival-thrice", .arrival = arrival_thrice_arrival },
    { .name = "late-arrival", .unregistered = late_arrival_unregistered, .tracing_ends = late_arrival_tracing_ends },
    { .name = "memory-as-processor", .memory = memory_as_processor_memory },
    { .name = "memory-brings-processor", .memory = memory_brings_processor_memory },
    { .name = "second-start-after-memory",
      .add_start = second_start_after_memory_start,
      .memory = first_memory_memory },
    { .name = "no-complete-after-memory",
      .add_complete = no_complete_after_memory_complete,
      .memory = second_memory_memory },
    { .name = "swapped-after-refusal",
      .add_start = swapped_after_refusal_start,
      .add_complete = swapped_after_refusal_complete,
      .memory = second_memory_memory },
    { .name = "opt-out-ignored", .takes_part = opt_out_ignored_takes_part },
    { .name = "raised-unload", .unload = raised_unload_unload, .irql = wrong_irql_irql },
    { .name = "status-in-complete", .call = watched_call, .work_begins = status_in_complete_work_begins },
    { .name = "error-overwritten", .call = watched_call, .work_begins = error_overwritten_work_begins },
    { .name = "context-changed", .call = watched_call, .work_begins = context_changed_work_begins },
    { .name = "failure-unheeded", .call = watched_call, .work_begins = failure_unheeded_work_begins },
    { .name = "unclean-veto", .call = watched_call, .work_ends = unclean_veto_work_ends },
    { .name = "thread-before-complete",
      .call = watched_call,
      .replay = thread_before_complete_replay,
      .work_begins = thread_before_complete_work_begins,
      .work_ends = thread_before_complete_work_ends },
    { .name = "requests-lost", .takes_request = requests_lost_takes_request },
    { .name = "stop-refused", .answer = stop_refused_answer },
};

const char *
core_plant_name(void)
{
    return behaviour()->name;
}

/* A plant: the documented behaviour, with the plant's own at the points where it has one. */
static void
take_points(const struct behaviour *plant)
{
    static const UCHAR none[sizeof(void *)];
    ULONG at;

    _Static_assert(sizeof(planted) % sizeof(none) == 0, "every point is a pointer");

    planted = documented;
    for (at = 0; at < sizeof(planted); at += sizeof(none)) {
        if (__builtin_memcmp((const UCHAR *)plant + at, none, sizeof(none)) != 0) {
            RtlCopyMemory((PUCHAR)&planted + at, (const UCHAR *)plant + at, sizeof(none));
        }
    }
}

/* Select a plant only while no driver is loaded: running code keeps its initial behaviour. */
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
        behaviour_select(&documented);
        number_given = 0;
        reached = 0;
        vetoed = FALSE;
        if (index != 0) {
            take_points(plant);
            behaviour_select(&planted);
        }
        return 0;
    }
    return -1;
}
