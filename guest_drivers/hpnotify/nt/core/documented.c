/* SPDX-License-Identifier: MIT */
/*
 * The documented behaviour at each point at which a plant may deviate. Where the documents are silent, the layer chooses
 * one behaviour: after a veto the remaining callbacks also get their Start and find the error in it, every registration
 * that got a Start gets a Failure with that status, and the number is assigned again.
 */
#include "layer.h"

static void
documented_call(
    struct sync_registration *registration, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS operation)
{
    registration->callback(registration->context, change, operation);
}

static NTSTATUS
documented_add_start(ULONG n)
{
    NTSTATUS operation = processor_start_round(n);

    if (!NT_SUCCESS(operation)) {
        processor_failure_round(n, operation);
    }
    return operation;
}

/*
 * The processor runs threads now: it is counted first, and then every registration that got a Start gets a Complete.
 */
static void
documented_add_complete(ULONG n)
{
    struct sync_registration *each;

    processor_activate(n);
    for (each = processor_registrations(); each != NULL; each = each->next) {
        if (each->started[n]) {
            processor_deliver(each, KeProcessorAddCompleteNotify, n, STATUS_SUCCESS, NULL);
        }
    }
}

/*
 * KE_PROCESSOR_CHANGE_ADD_EXISTING: a Start for every active processor, then a Complete for every one. After an error
 * no further Start, and a Failure for each processor already started except the one with the error.
 */
static NTSTATUS
documented_replay(struct sync_registration *registration)
{
    NTSTATUS operation = STATUS_SUCCESS;
    ULONG count = processor_active();
    ULONG reached;
    ULONG n;

    for (n = 0; n < count && NT_SUCCESS(operation); n += 1) {
        processor_deliver(registration, KeProcessorAddStartNotify, n, STATUS_SUCCESS, &operation);
    }

    if (NT_SUCCESS(operation)) {
        for (n = 0; n < count; n += 1) {
            processor_deliver(registration, KeProcessorAddCompleteNotify, n, STATUS_SUCCESS, NULL);
        }
    } else {
        reached = n - 1;
        for (n = 0; n < reached; n += 1) {
            processor_deliver(registration, KeProcessorAddFailureNotify, n, operation, NULL);
        }
        registration->started[reached] = FALSE;
    }
    return operation;
}

static BOOLEAN
documented_reports_existing(ULONG flags)
{
    return (flags & KE_PROCESSOR_CHANGE_ADD_EXISTING) != 0;
}

static void
documented_refused(struct sync_registration *registration)
{
    machine_free(registration);
}

static BOOLEAN
documented_work_begins(void)
{
    return TRUE;
}

static void
documented_nothing(void)
{
}

static ULONG
documented_processor(ULONG real)
{
    return real;
}

static ULONG
documented_count(enum counted what, ULONG real)
{
    UNREFERENCED_PARAMETER(what);
    return real;
}

static void
documented_unregistered(PDRIVER_NOTIFICATION_CALLBACK_ROUTINE callback, PVOID context)
{
    UNREFERENCED_PARAMETER(callback);
    UNREFERENCED_PARAMETER(context);
}

static NTSTATUS
documented_answer(UCHAR minor, NTSTATUS status)
{
    UNREFERENCED_PARAMETER(minor);
    return status;
}

static BOOLEAN
documented_drops_line(void)
{
    return FALSE;
}

static KIRQL
documented_irql(KIRQL real)
{
    return real;
}

const struct behaviour documented = {
    .name = "none",
    .add_start = documented_add_start,
    .add_complete = documented_add_complete,
    .call = documented_call,
    .reports_existing = documented_reports_existing,
    .replay = documented_replay,
    .refused = documented_refused,
    .work_begins = documented_work_begins,
    .work_ends = documented_nothing,
    .irql = documented_irql,
    .processor = documented_processor,
    .count = documented_count,
    .arrival = notify_call,
    .memory = notify_memory,
    .unregistered = documented_unregistered,
    .tracing_ends = documented_nothing,
    .takes_request = documented_work_begins,
    .takes_part = device_takes_part,
    .query_stop = device_query_stop,
    .answer = documented_answer,
    .power_off = device_power_off,
    .unload = framework_call_unload,
    .drops_line = documented_drops_line,
};
