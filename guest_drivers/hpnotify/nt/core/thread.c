/* SPDX-License-Identifier: MIT */
/* System threads, events, deferred procedure calls and affinity. */
#include "layer.h"

enum object_kind { OBJECT_EVENT = 0x45, OBJECT_THREAD = 0x54 };

/* Every waitable object begins with its kind, because a driver passes it by an untyped pointer. */
struct event {
    ULONG kind;
    ULONG consumed;
    UCHAR storage[MACHINE_EVENT_BYTES];
};

_Static_assert(sizeof(struct event) <= sizeof(KEVENT), "an event fits in a KEVENT");

struct thread {
    struct event ended;
    PKSTART_ROUTINE routine;
    PVOID context;
    LONG references;
};

struct call {
    UCHAR storage[MACHINE_CALL_BYTES];
    PKDEFERRED_ROUTINE routine;
    PVOID context;
    PVOID arguments[2];
    ULONG processor;
    BOOLEAN targeted;
};

_Static_assert(sizeof(struct call) <= sizeof(KDPC), "a call fits in a KDPC");

static LONG threads;
static LONG calls;

ULONG
threads_outstanding(void)
{
    return (ULONG)__atomic_load_n(&threads, __ATOMIC_SEQ_CST);
}

VOID
KeInitializeEvent(PKEVENT Event, EVENT_TYPE Type, BOOLEAN State)
{
    struct event *event = (struct event *)Event;

    event->kind = OBJECT_EVENT;
    event->consumed = Type == SynchronizationEvent;
    machine_event_initialize(event->storage, State);
}

LONG
KeSetEvent(PKEVENT Event, KPRIORITY Increment, BOOLEAN Wait)
{
    UNREFERENCED_PARAMETER(Increment);
    if (Wait) {
        layer_trouble("an event was set with the promise of a wait that does not follow");
    }
    machine_event_set(((struct event *)Event)->storage);
    return 0;
}

NTSTATUS
KeWaitForSingleObject(
    PVOID Object, KWAIT_REASON WaitReason, KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Timeout)
{
    struct event *event = Object;
    LONGLONG ticks = -1;

    UNREFERENCED_PARAMETER(WaitReason);
    UNREFERENCED_PARAMETER(WaitMode);
    UNREFERENCED_PARAMETER(Alertable);
    if (event->kind != OBJECT_EVENT && event->kind != OBJECT_THREAD) {
        layer_trouble("a wait for something that is no event and no thread");
        return STATUS_INVALID_HANDLE;
    }
    if (machine_irql() >= DISPATCH_LEVEL) {
        layer_trouble("a wait at DISPATCH_LEVEL");
    }

    /* Drivers without their own clock can only use relative times, which are negative. */
    if (Timeout != NULL) {
        ticks = Timeout->QuadPart < 0 ? -Timeout->QuadPart : 0;
    }
    return machine_event_wait(event->storage, (int)event->consumed, ticks) == 0 ? STATUS_SUCCESS : STATUS_TIMEOUT;
}

NTSTATUS
KeDelayExecutionThread(KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Interval)
{
    UNREFERENCED_PARAMETER(WaitMode);
    UNREFERENCED_PARAMETER(Alertable);
    if (Interval->QuadPart < 0) {
        machine_delay((unsigned long long)-Interval->QuadPart);
    }
    return STATUS_SUCCESS;
}

static void
release(struct thread *thread)
{
    if (InterlockedDecrement(&thread->references) == 0) {
        machine_free(thread);
    }
}

static void
thread_ends(struct thread *thread)
{
    InterlockedDecrement(&threads);
    machine_event_set(thread->ended.storage);
    release(thread);
}

static void
thread_begins(void *context)
{
    struct thread *thread = context;

    thread->routine(thread->context);
    thread_ends(thread);
}

/* One reference for the running thread, one for the handle. */
NTSTATUS
PsCreateSystemThread(
    HANDLE *ThreadHandle, ULONG DesiredAccess, PVOID ObjectAttributes, HANDLE ProcessHandle, PVOID ClientId,
    PKSTART_ROUTINE StartRoutine, PVOID StartContext)
{
    struct thread *thread = machine_allocate(sizeof(*thread));

    UNREFERENCED_PARAMETER(DesiredAccess);
    UNREFERENCED_PARAMETER(ObjectAttributes);
    UNREFERENCED_PARAMETER(ProcessHandle);
    UNREFERENCED_PARAMETER(ClientId);
    if (thread == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    thread->ended.kind = OBJECT_THREAD;
    machine_event_initialize(thread->ended.storage, 0);
    thread->routine = StartRoutine;
    thread->context = StartContext;
    thread->references = 2;
    InterlockedIncrement(&threads);
    if (machine_thread_start(thread_begins, thread) != 0) {
        machine_free(thread);
        InterlockedDecrement(&threads);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    *ThreadHandle = thread;
    return STATUS_SUCCESS;
}

NTSTATUS
PsTerminateSystemThread(NTSTATUS ExitStatus)
{
    UNREFERENCED_PARAMETER(ExitStatus);
    thread_ends(machine_thread_context());
    machine_thread_exit();
}

NTSTATUS
ObReferenceObjectByHandle(
    HANDLE Handle, ULONG DesiredAccess, PVOID ObjectType, KPROCESSOR_MODE AccessMode, PVOID *Object,
    PVOID HandleInformation)
{
    struct thread *thread = Handle;

    UNREFERENCED_PARAMETER(DesiredAccess);
    UNREFERENCED_PARAMETER(ObjectType);
    UNREFERENCED_PARAMETER(AccessMode);
    UNREFERENCED_PARAMETER(HandleInformation);
    InterlockedIncrement(&thread->references);
    *Object = thread;
    return STATUS_SUCCESS;
}

VOID
ObDereferenceObject(PVOID Object)
{
    release(Object);
}

NTSTATUS
ZwClose(HANDLE Handle)
{
    if (!registry_close(Handle)) {
        release(Handle);
    }
    return STATUS_SUCCESS;
}

/* Inactive processors are ignored; if none remains, nothing changes, silently. */
VOID
KeSetSystemGroupAffinityThread(PGROUP_AFFINITY Affinity, PGROUP_AFFINITY PreviousAffinity)
{
    unsigned machines[64];
    ULONG count = processor_machines(Affinity->Group, Affinity->Mask, machines);

    if (PreviousAffinity != NULL) {
        RtlZeroMemory(PreviousAffinity, sizeof(*PreviousAffinity));
    }
    if (count != 0) {
        machine_bind(machines, count);
    }
}

/* Deferred procedure calls run at DISPATCH_LEVEL and are off their queue before they run. */

VOID
KeInitializeDpc(PKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
{
    struct call *call = (struct call *)Dpc;

    RtlZeroMemory(call, sizeof(*call));
    call->routine = DeferredRoutine;
    call->context = DeferredContext;
}

NTSTATUS
KeSetTargetProcessorDpcEx(PKDPC Dpc, PPROCESSOR_NUMBER ProcNumber)
{
    struct call *call = (struct call *)Dpc;
    ULONG n = KeGetProcessorIndexFromNumber(ProcNumber);
    unsigned machines[64];

    if (n == INVALID_PROCESSOR_INDEX || machine_fails() ||
        processor_machines(ProcNumber->Group, (KAFFINITY)1 << ProcNumber->Number, machines) != 1) {
        return STATUS_INVALID_PARAMETER;
    }
    call->processor = machines[0];
    call->targeted = TRUE;
    return STATUS_SUCCESS;
}

static void
run_call(void *context)
{
    struct call *call = context;
    unsigned old = machine_set_irql(DISPATCH_LEVEL);

    call->routine(
        (PKDPC)call, call->context, __atomic_load_n(&call->arguments[0], __ATOMIC_RELAXED),
        __atomic_load_n(&call->arguments[1], __ATOMIC_RELAXED));
    machine_set_irql(old);
    InterlockedDecrement(&calls);
}

BOOLEAN
KeInsertQueueDpc(PKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2)
{
    struct call *call = (struct call *)Dpc;
    unsigned processor = call->targeted ? call->processor : machine_processor();

    InterlockedIncrement(&calls);
    __atomic_store_n(&call->arguments[0], SystemArgument1, __ATOMIC_RELAXED);
    __atomic_store_n(&call->arguments[1], SystemArgument2, __ATOMIC_RELAXED);
    if (machine_call(call->storage, processor, run_call, call) != 0) {
        InterlockedDecrement(&calls);
        return FALSE;
    }
    return TRUE;
}

VOID
KeFlushQueuedDpcs(VOID)
{
    while (__atomic_load_n(&calls, __ATOMIC_SEQ_CST) != 0) {
        machine_pause();
    }
}
