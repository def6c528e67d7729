/* SPDX-License-Identifier: MIT */
/*
 * Work on every processor. When Complete is delivered, a thread is bound to the new processor by group affinity and a
 * DPC is targeted at it; before that the processor may not be schedulable. Work items go to the worker with the fewest
 * waiting items: the DPC wakes the thread on its processor, and the thread executes them.
 */
#include "worker.h"

static KSTART_ROUTINE HpnWorkerThread;
static KDEFERRED_ROUTINE HpnWorkerDpc;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnWorkerThread)
#pragma alloc_text(PAGE, HpnWorkerStart)
#pragma alloc_text(PAGE, HpnWorkerStop)
#endif

static
BOOLEAN
HpnWorkerIsMisplaced(
    _In_ const HPN_WORKER *Worker
    )
{
    PROCESSOR_NUMBER here = { 0 };

    KeGetCurrentProcessorNumberEx(&here);
    return here.Group != Worker->Number.Group || here.Number != Worker->Number.Number;
}

static
VOID
HpnWorkerBound(
    _In_ const HPN_WORKER *Worker,
    _In_z_ PCSTR What
    )
{
    HPN_Bind record = { 0 };

    record.What = What;
    record.NtNumber = Worker->NtNumber;
    record.Group = Worker->Number.Group;
    record.Number = Worker->Number.Number;
    HpnLogRecord(Worker->Log, HpnRecordBind, &record);
}

/*
 * Wakes the worker's thread, on the worker's processor.
 *
 * IRQL: DISPATCH_LEVEL. Not pageable for that reason.
 * Arguments:
 *     Dpc: the worker's DPC; unused.
 *     DeferredContext: the worker, an HPN_WORKER.
 *     SystemArgument1: unused.
 *     SystemArgument2: unused.
 * Returns: nothing.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nc-wdm-kdeferred_routine
 */
_Use_decl_annotations_
static
VOID
HpnWorkerDpc(
    PKDPC Dpc,
    PVOID DeferredContext,
    PVOID SystemArgument1,
    PVOID SystemArgument2
    )
{
    PHPN_WORKER worker = DeferredContext;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument1);
    UNREFERENCED_PARAMETER(SystemArgument2);

    InterlockedIncrement64(&worker->Dpcs);
    if (HpnWorkerIsMisplaced(worker)) {
        InterlockedIncrement64(&worker->Misplaced);
    }
    KeSetEvent(&worker->Wake, IO_NO_INCREMENT, FALSE);
}

static
VOID
HpnWorkerDo(
    _Inout_ PHPN_WORKER Worker,
    _In_ LONG Items
    )
{
    HPN_Work record = { 0 };

    if (HpnWorkerIsMisplaced(Worker)) {
        InterlockedIncrement64(&Worker->Misplaced);
    }

    record.NtNumber = Worker->NtNumber;
    record.Done = (ULONG64)InterlockedAdd64(&Worker->Done, Items);
    HpnLogRecord(Worker->Log, HpnRecordWork, &record);
}

/*
 * Does the work of one processor, on that processor, until it is told to stop.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     StartContext: the worker, an HPN_WORKER.
 * Returns: nothing.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nc-wdm-kstart_routine
 */
_Use_decl_annotations_
static
VOID
HpnWorkerThread(
    PVOID StartContext
    )
{
    PHPN_WORKER worker = StartContext;
    GROUP_AFFINITY affinity = { 0 };
    BOOLEAN stop;
    LONG items;

    PAGED_CODE();

    affinity.Group = worker->Number.Group;
    affinity.Mask = (KAFFINITY)1 << worker->Number.Number;
    KeSetSystemGroupAffinityThread(&affinity, NULL);
    HpnWorkerBound(worker, "thread");

    do {
        KeWaitForSingleObject(&worker->Wake, Executive, KernelMode, FALSE, NULL);
        stop = ReadAcquire(&worker->Stop) != 0;
        items = InterlockedExchange(&worker->Pending, 0);
        if (items != 0) {
            HpnWorkerDo(worker, items);
        }
    } while (!stop);

    PsTerminateSystemThread(STATUS_SUCCESS);
}

/* Starts a worker. A processor for which this fails has no worker and gets no work. */
_Use_decl_annotations_
NTSTATUS
HpnWorkerStart(
    PHPN_LOG Log,
    PHPN_WORKER Worker,
    ULONG NtNumber,
    PROCESSOR_NUMBER Number
    )
{
    HANDLE handle;
    NTSTATUS status;

    PAGED_CODE();

    Worker->Log = Log;
    Worker->NtNumber = NtNumber;
    Worker->Number = Number;
    Worker->Number.Reserved = 0;
    KeInitializeEvent(&Worker->Wake, SynchronizationEvent, FALSE);
    KeInitializeDpc(&Worker->Dpc, HpnWorkerDpc, Worker);
    status = KeSetTargetProcessorDpcEx(&Worker->Dpc, &Worker->Number);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    HpnWorkerBound(Worker, "dpc");
    status = PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, HpnWorkerThread, Worker);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    /* A kernel-mode caller may leave the object type open; it cannot fail for a handle that is only here. */
    status = ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, NULL, KernelMode, &Worker->Thread, NULL);
    NT_ASSERT(NT_SUCCESS(status));
    ZwClose(handle);
    return STATUS_SUCCESS;
}

/* Ends a worker: its waiting work is done first, and none of it runs after this has returned. */
_Use_decl_annotations_
VOID
HpnWorkerStop(
    PHPN_WORKER Worker
    )
{
    PAGED_CODE();

    if (Worker->Thread == NULL) {
        return;
    }

    KeFlushQueuedDpcs();
    InterlockedExchange(&Worker->Stop, 1);
    KeSetEvent(&Worker->Wake, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Worker->Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Worker->Thread);
    Worker->Thread = NULL;
}

_Use_decl_annotations_
VOID
HpnWorkerGive(
    PHPN_WORKER Worker,
    ULONG Items
    )
{
    InterlockedExchangeAdd(&Worker->Pending, (LONG)Items);

    /* If the DPC is queued already, it wakes the thread for these items too. */
    KeInsertQueueDpc(&Worker->Dpc, NULL, NULL);
}
