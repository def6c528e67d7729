/* SPDX-License-Identifier: MIT */
/*
 * Processors: their NT numbers, the counts, and the calls of the processor change callback.
 *
 * Numbers are assigned densely in the order in which processors arrive; they are never the machine's own. One
 * processor is added at a time: the machine ensures that, and the documents do not mention it.
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

void
processor_initialize(const unsigned *given, ULONG count, ULONG most, ULONG size)
{
    ULONG index;

    maximum = most;
    group_size = size;
    for (index = 0; index < count; index += 1) {
        processors[index].machine = given[index];
        processors[index].used = TRUE;
        processors[index].active = TRUE;
    }
}

void
processor_forget(void)
{
    RtlZeroMemory(processors, sizeof(processors));
}

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

int
processor_find(unsigned machine)
{
    ULONG n;

    for (n = 0; n < maximum; n += 1) {
        if (processors[n].used && processors[n].machine == machine) {
            return (int)n;
        }
    }
    return -1;
}

int
processor_take_number(unsigned machine)
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

void
processor_return_number(ULONG n)
{
    processors[n].used = FALSE;
}

BOOLEAN
processor_is_active(ULONG n)
{
    return processors[n].active;
}

unsigned
processor_machine(ULONG n)
{
    return processors[n].machine;
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

unsigned
core_active(void)
{
    return processor_active();
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
    int n = (int)behaviour()->processor((ULONG)processor_find(machine_processor()));

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
