/* SPDX-License-Identifier: MIT */
/*
 * Processors: their NT numbers, the counts, and the documented delivery of the processor change callback.
 *
 * Numbers are assigned densely in the order in which processors arrive; they are never the machine's own. One
 * processor is added at a time: the machine ensures that, and the documents do not mention it. Where the documents are
 * silent, the layer chooses one behaviour: after a veto the remaining callbacks also get their Start and find the
 * error in it, every registration that got a Start gets a Failure with that status, and the number is assigned again.
 */
#include "layer.h"

struct processor {
    unsigned machine;
    BOOLEAN used;
    BOOLEAN active;
};

static struct processor processors[LAYER_PROCESSORS];
static ULONG maximum;
static ULONG group_size;
static struct sync_registration *registrations;

struct sync_registration *
processor_registrations(void)
{
    return registrations;
}

ULONG
processor_active(void)
{
    ULONG count = 0;
    ULONG n;

    for (n = 0; n < maximum; n += 1) {
        count += __atomic_load_n(&processors[n].active, __ATOMIC_ACQUIRE);
    }
    return count;
}

void
processor_activate(ULONG n)
{
    __atomic_store_n(&processors[n].active, TRUE, __ATOMIC_RELEASE);
}

void
processor_deactivate(ULONG n)
{
    __atomic_store_n(&processors[n].active, FALSE, __ATOMIC_RELEASE);
}

static int
number_of(unsigned machine)
{
    ULONG n;

    for (n = 0; n < maximum; n += 1) {
        if (processors[n].used && processors[n].machine == machine) {
            return (int)n;
        }
    }
    return -1;
}

static int
take_number(unsigned machine)
{
    ULONG n;

    for (n = 0; n < maximum; n += 1) {
        if (!processors[n].used) {
            processors[n].used = TRUE;
            processors[n].machine = machine;
            return (int)n;
        }
    }
    return -1;
}

static void
number_to_group(ULONG n, PPROCESSOR_NUMBER number)
{
    number->Group = (USHORT)(n / group_size);
    number->Number = (UCHAR)(n % group_size);
    number->Reserved = 0;
}

/* One call of one callback, at PASSIVE_LEVEL, with its own context. */
void
processor_deliver(
    struct sync_registration *registration, KE_PROCESSOR_CHANGE_NOTIFY_STATE state, ULONG n, NTSTATUS status,
    PNTSTATUS operation)
{
    KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change;
    NTSTATUS own = STATUS_SUCCESS;

    RtlZeroMemory(&change, sizeof(change));
    change.State = state;
    change.NtNumber = n;
    change.Status = status;
    number_to_group(n, &change.ProcNumber);
    registration->started[n] = state == KeProcessorAddStartNotify;
    behaviour()->call(registration, &change, operation != NULL ? operation : &own);
}

static void
documented_call(
    struct sync_registration *registration, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS operation)
{
    registration->callback(registration->context, change, operation);
}

NTSTATUS
processor_start_round(ULONG n)
{
    struct sync_registration *each;
    NTSTATUS operation = STATUS_SUCCESS;

    for (each = registrations; each != NULL; each = each->next) {
        processor_deliver(each, KeProcessorAddStartNotify, n, STATUS_SUCCESS, &operation);
    }
    return operation;
}

void
processor_failure_round(ULONG n, NTSTATUS status)
{
    struct sync_registration *each;

    for (each = registrations; each != NULL; each = each->next) {
        if (each->started[n]) {
            processor_deliver(each, KeProcessorAddFailureNotify, n, status, NULL);
        }
    }
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
    for (each = registrations; each != NULL; each = each->next) {
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

/* What the machine reports. */

int
core_initialize(const unsigned *given, unsigned count, unsigned most, unsigned size)
{
    unsigned index;

    if (count == 0 || count > most || most > LAYER_PROCESSORS || size == 0 || size > 64) {
        return -1;
    }

    maximum = most;
    group_size = size;
    for (index = 0; index < count; index += 1) {
        processors[index].machine = given[index];
        processors[index].used = TRUE;
        processors[index].active = TRUE;
        if (notify_existing(INTERFACE_PROCESSOR, given[index]) != 0) {
            return -1;
        }
    }
    return 0;
}

void
core_finish(void)
{
    RtlZeroMemory(processors, sizeof(processors));
    notify_forget();
    registry_forget();
}

unsigned
core_active(void)
{
    return processor_active();
}

int
core_add_start(unsigned processor)
{
    NTSTATUS status;
    int n = number_of(processor);

    if (n < 0) {
        n = take_number(processor);
    }
    if (n < 0) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    status = behaviour()->add_start((ULONG)n);
    if (!NT_SUCCESS(status)) {
        processors[n].used = FALSE;
    }
    return NT_SUCCESS(status) ? STATUS_SUCCESS : status;
}

static void
announce_later(void *context)
{
    notify_arrival(INTERFACE_PROCESSOR, (ULONG_PTR)context);
}

void
processor_announce_now(ULONG n)
{
    notify_arrival(INTERFACE_PROCESSOR, processors[n].machine);
}

/* The asynchronous notification of a processor: some time after it runs threads. */
static void
announce(ULONG n)
{
    if (machine_defer(announce_later, (void *)(ULONG_PTR)processors[n].machine) != 0) {
        layer_trouble("no memory to announce processor %u", n);
    }

    /* Adding a processor starts a rebalance of all devices; when, relative to the notifications, is not documented. */
    if (devices_exist() && machine_defer(service_rebalance_all, NULL) != 0) {
        layer_trouble("no memory to rebalance devices after processor %u", n);
    }
}

void
core_add_complete(unsigned processor)
{
    int n = number_of(processor);

    if (n >= 0 && !processors[n].active) {
        behaviour()->add_complete((ULONG)n);
        announce((ULONG)n);
    }
}

void
core_add_failed(unsigned processor)
{
    int n = number_of(processor);

    if (n < 0 || processors[n].active) {
        return;
    }

    processor_failure_round((ULONG)n, STATUS_UNSUCCESSFUL);
    processors[n].used = FALSE;
}

/* What drivers call. */

PVOID
KeRegisterProcessorChangeCallback(PPROCESSOR_CALLBACK_FUNCTION CallbackFunction, PVOID CallbackContext, ULONG Flags)
{
    struct sync_registration *registration;
    struct sync_registration **end;
    NTSTATUS status = STATUS_SUCCESS;

    if (CallbackFunction == NULL || (Flags & ~KE_PROCESSOR_CHANGE_ADD_EXISTING) != 0) {
        return NULL;
    }

    registration = machine_allocate(sizeof(*registration));
    if (registration == NULL) {
        return NULL;
    }
    registration->callback = CallbackFunction;
    registration->context = CallbackContext;

    machine_exclude_additions();
    machine_lock(MACHINE_MUTEX_SYNC);
    if (behaviour()->reports_existing(Flags)) {
        status = behaviour()->replay(registration);
    }
    if (NT_SUCCESS(status)) {
        for (end = &registrations; *end != NULL; end = &(*end)->next) {
        }
        *end = registration;
    }
    machine_unlock(MACHINE_MUTEX_SYNC);
    machine_allow_additions();

    if (!NT_SUCCESS(status)) {
        behaviour()->refused(registration);
        return NULL;
    }
    return registration;
}

VOID
KeDeregisterProcessorChangeCallback(PVOID CallbackHandle)
{
    struct sync_registration **link;

    machine_exclude_additions();
    machine_lock(MACHINE_MUTEX_SYNC);
    for (link = &registrations; *link != NULL && *link != CallbackHandle; link = &(*link)->next) {
    }
    if (*link != NULL) {
        *link = (*link)->next;
    } else {
        CallbackHandle = NULL;
        layer_trouble("KeDeregisterProcessorChangeCallback: no such registration");
    }
    machine_unlock(MACHINE_MUTEX_SYNC);
    machine_allow_additions();
    machine_free(CallbackHandle);
}

ULONG
processor_machines(USHORT group, KAFFINITY mask, unsigned machines[64])
{
    KAFFINITY active = mask & KeQueryGroupAffinity(group);
    ULONG count = 0;
    ULONG bit;

    for (bit = 0; bit < group_size; bit += 1) {
        if (active & ((KAFFINITY)1 << bit)) {
            machines[count] = processors[group * group_size + bit].machine;
            count += 1;
        }
    }
    return count;
}

ULONG
KeGetCurrentProcessorNumberEx(PPROCESSOR_NUMBER ProcNumber)
{
    int n = (int)behaviour()->processor((ULONG)number_of(machine_processor()));

    if (ProcNumber != NULL && n >= 0) {
        number_to_group((ULONG)n, ProcNumber);
    }
    return (ULONG)n;
}

static ULONG
bits(KAFFINITY mask)
{
    ULONG count = 0;

    for (; mask != 0; mask &= mask - 1) {
        count += 1;
    }
    return count;
}

ULONG
KeQueryActiveProcessorCountEx(USHORT GroupNumber)
{
    if (GroupNumber == ALL_PROCESSOR_GROUPS) {
        return processor_active();
    }
    return bits(KeQueryGroupAffinity(GroupNumber));
}

ULONG
KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors)
{
    KAFFINITY mask = KeQueryGroupAffinity(0);

    if (ActiveProcessors != NULL) {
        *ActiveProcessors = mask;
    }
    return behaviour()->count(COUNTED_GROUP_ZERO, bits(mask));
}

ULONG
KeQueryMaximumProcessorCountEx(USHORT GroupNumber)
{
    ULONG first = GroupNumber * group_size;

    if (GroupNumber == ALL_PROCESSOR_GROUPS) {
        return behaviour()->count(COUNTED_MAXIMUM, maximum);
    }
    if (first >= maximum) {
        return 0;
    }
    return maximum - first < group_size ? maximum - first : group_size;
}

USHORT
KeQueryActiveGroupCount(VOID)
{
    return (USHORT)behaviour()->count(COUNTED_GROUPS, (processor_active() + group_size - 1) / group_size);
}

KAFFINITY
KeQueryGroupAffinity(USHORT GroupNumber)
{
    KAFFINITY mask = 0;
    ULONG first = GroupNumber * group_size;
    ULONG n;

    for (n = first; n < maximum && n < first + group_size; n += 1) {
        if (__atomic_load_n(&processors[n].active, __ATOMIC_ACQUIRE)) {
            mask |= (KAFFINITY)1 << (n - first);
        }
    }
    return mask;
}

NTSTATUS
KeGetProcessorNumberFromIndex(ULONG ProcIndex, PPROCESSOR_NUMBER ProcNumber)
{
    if (ProcIndex >= maximum || !processors[ProcIndex].active) {
        return STATUS_INVALID_PARAMETER;
    }
    number_to_group(ProcIndex, ProcNumber);
    return STATUS_SUCCESS;
}

ULONG
KeGetProcessorIndexFromNumber(PPROCESSOR_NUMBER ProcNumber)
{
    ULONG n = ProcNumber->Group * group_size + ProcNumber->Number;

    if (ProcNumber->Reserved != 0 || ProcNumber->Number >= group_size || n >= maximum || !processors[n].active) {
        return INVALID_PROCESSOR_INDEX;
    }
    return n;
}
