/* SPDX-License-Identifier: MIT */
/*
 * Synchronous notification of processors.
 *
 * Each added processor causes two calls: Start, then Complete or Failure. Start allocates what the driver
 * needs for the processor and may veto; Failure frees it. An existing processor for which Start vetoed gets no
 * Failure, so a vetoing Start cleans up after itself.
 *
 * There is no documentation about concurrent callbacks, nor about a callback that runs while its registration is being
 * ended. So the slots have a lock, and run-down protection keeps their content valid during a callback.
 */
#include "pool.h"
#include "sync.h"

static PROCESSOR_CALLBACK_FUNCTION HpnProcessorChange;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnProcessorChange)
#pragma alloc_text(PAGE, HpnSyncRegister)
#pragma alloc_text(PAGE, HpnSyncDeregister)
#endif

static
VOID
HpnProcessorFree(
    _Inout_ PHPN_SYNC Sync,
    _In_ ULONG NtNumber
    )
{
    PHPN_PROCESSOR processor;
    HPN_Free record = { 0 };
    WDFMEMORY memory;
    KIRQL irql;

    if (NtNumber >= Sync->ProcessorCount) {
        return;
    }

    KeAcquireSpinLock(&Sync->Lock, &irql);
    processor = Sync->Processors[NtNumber];
    Sync->Processors[NtNumber] = NULL;
    KeReleaseSpinLock(&Sync->Lock, irql);
    if (processor == NULL) {
        return;
    }

    record.Registration = Sync->Id;
    record.NtNumber = NtNumber;
    record.Object = (ULONG_PTR)processor;
    memory = processor->Memory;
    HpnWorkerStop(&processor->Worker);
    WdfObjectDelete(memory);
    HpnLogRecord(Sync->Log, HpnRecordFree, &record);
}

/* The work of Start: allocate for the new processor, or return the error for a veto, with nothing allocated. */
static
_Must_inspect_result_
NTSTATUS
HpnProcessorStart(
    _Inout_ PHPN_SYNC Sync,
    _In_ const KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT *Change
    )
{
    NTSTATUS status;
    WDF_OBJECT_ATTRIBUTES attributes;
    WDFMEMORY memory;
    PHPN_PROCESSOR processor;
    HPN_Alloc record = { 0 };
    BOOLEAN taken;
    KIRQL irql;

    if (Change->NtNumber >= Sync->ProcessorCount) {
        return STATUS_INVALID_PARAMETER;
    }

    WDF_OBJECT_ATTRIBUTES_INIT(&attributes);
    attributes.ParentObject = Sync->Log->Framework;
    status = WdfMemoryCreate(
        &attributes, NonPagedPoolNx, HPN_POOL_TAG, sizeof(*processor), &memory, (PVOID *)&processor);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    RtlZeroMemory(processor, sizeof(*processor));
    processor->Memory = memory;

    KeAcquireSpinLock(&Sync->Lock, &irql);
    taken = Sync->Processors[Change->NtNumber] != NULL;
    if (!taken) {
        Sync->Processors[Change->NtNumber] = processor;
    }
    KeReleaseSpinLock(&Sync->Lock, irql);

    if (taken) {
        /* A Start without an end of the previous one: keep the existing allocation. */
        WdfObjectDelete(memory);
        return STATUS_SUCCESS;
    }

    record.Registration = Sync->Id;
    record.NtNumber = Change->NtNumber;
    record.Object = (ULONG_PTR)processor;
    record.Size = sizeof(*processor);
    HpnLogRecord(Sync->Log, HpnRecordAlloc, &record);

    status = HpnVetoTake(Sync->Veto);
    if (!NT_SUCCESS(status)) {
        HpnProcessorFree(Sync, Change->NtNumber);
    }

    return status;
}

static
VOID
HpnProcessorComplete(
    _Inout_ PHPN_SYNC Sync,
    _In_ const KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT *Change
    )
{
    PHPN_PROCESSOR processor;
    BOOLEAN running;
    KIRQL irql;

    if (!Sync->Works || Change->NtNumber >= Sync->ProcessorCount) {
        return;
    }

    KeAcquireSpinLock(&Sync->Lock, &irql);
    processor = Sync->Processors[Change->NtNumber];
    running = processor != NULL && processor->Running;
    KeReleaseSpinLock(&Sync->Lock, irql);
    if (processor == NULL || running) {
        return;
    }

    /* A processor without a worker gets no work; nothing else depends on it. */
    if (NT_SUCCESS(HpnWorkerStart(Sync->Log, &processor->Worker, Change->NtNumber, Change->ProcNumber))) {
        KeAcquireSpinLock(&Sync->Lock, &irql);
        processor->Running = TRUE;
        KeReleaseSpinLock(&Sync->Lock, irql);
    }
}

/* Takes the requested time, so that concurrent events can be observed. */
static
VOID
HpnStartDelay(
    _In_ const HPN_SYNC *Sync
    )
{
    LARGE_INTEGER interval;
    LONG milliseconds = ReadNoFence(&Sync->StartDelay);

    if (milliseconds != 0) {
        interval.QuadPart = -10000LL * milliseconds;
        KeDelayExecutionThread(KernelMode, FALSE, &interval);
    }
}

static
ULONG64
HpnSyncEnterRecord(
    _In_ PHPN_SYNC Sync,
    _In_ const KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT *Change,
    _In_ NTSTATUS OperationStatus
    )
{
    HPN_SyncEnter record = { 0 };
    PROCESSOR_NUMBER known = { 0 };
    PROCESSOR_NUMBER asked = Change->ProcNumber;
    NTSTATUS status;
    ULONG index;

    /* Reserved is documented only as "initialize to zero" for callers. */
    asked.Reserved = 0;
    status = KeGetProcessorNumberFromIndex(Change->NtNumber, &known);
    index = KeGetProcessorIndexFromNumber(&asked);

    record.Registration = Sync->Id;
    record.State = (ULONG)Change->State;
    record.NtNumber = Change->NtNumber;
    record.Group = Change->ProcNumber.Group;
    record.Number = Change->ProcNumber.Number;
    record.Status = (ULONG)Change->Status;
    record.OperationStatus = (ULONG)OperationStatus;
    record.Context = (ULONG_PTR)Sync;
    record.MaximumInGroup = KeQueryMaximumProcessorCountEx(Change->ProcNumber.Group);
    record.Mask = KeQueryGroupAffinity(Change->ProcNumber.Group);
    record.IndexStatus = (ULONG)status;
    record.IndexGroup = NT_SUCCESS(status) ? known.Group : 0;
    record.IndexNumber = NT_SUCCESS(status) ? known.Number : 0;
    record.BackIndex = index == INVALID_PROCESSOR_INDEX ? -1 : (LONG64)index;
    return HpnLogRecord(Sync->Log, HpnRecordSyncEnter, &record);
}

/* The fields are read again at the exit, to show a change of the context. */
static
VOID
HpnSyncExitRecord(
    _In_ PHPN_SYNC Sync,
    _In_ ULONG64 Enter,
    _In_ const KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT *Change,
    _In_ NTSTATUS OperationStatus
    )
{
    HPN_SyncExit record = { 0 };

    record.Enter = Enter;
    record.Registration = Sync->Id;
    record.State = (ULONG)Change->State;
    record.NtNumber = Change->NtNumber;
    record.Group = Change->ProcNumber.Group;
    record.Number = Change->ProcNumber.Number;
    record.Status = (ULONG)Change->Status;
    record.OperationStatus = (ULONG)OperationStatus;
    HpnLogRecord(Sync->Log, HpnRecordSyncExit, &record);
}

/*
 * Takes part in the addition of a processor. Start allocates, Complete puts the processor to work, Failure frees.
 *
 * IRQL: PASSIVE_LEVEL.
 * Arguments:
 *     CallbackContext: the registration, an HPN_SYNC.
 *     ChangeContext: the processor and the state of its addition.
 *     OperationStatus: of the addition so far; only a Start may change it, to an error, which vetoes the addition.
 * Returns: nothing; see OperationStatus.
 * Page: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-keregisterprocessorchangecallback
 */
_Use_decl_annotations_
static
VOID
HpnProcessorChange(
    PVOID CallbackContext,
    PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT ChangeContext,
    PNTSTATUS OperationStatus
    )
{
    PHPN_SYNC sync = CallbackContext;
    NTSTATUS status;
    ULONG64 enter;

    PAGED_CODE();

    enter = HpnSyncEnterRecord(sync, ChangeContext, *OperationStatus);

    /* A callback after the end of its registration is only recorded: its data is freed. */
    if (!ExAcquireRundownProtection(&sync->Callbacks)) {
        HpnSyncExitRecord(sync, enter, ChangeContext, *OperationStatus);
        return;
    }

    switch (ChangeContext->State) {
    case KeProcessorAddStartNotify:
        HpnStartDelay(sync);

        /* An earlier client's error already ends this addition and must not be overwritten. */
        if (NT_SUCCESS(*OperationStatus)) {
            status = HpnProcessorStart(sync, ChangeContext);
            if (!NT_SUCCESS(status)) {
                sync->Status = status;
                *OperationStatus = status;
            }
        }
        break;

    case KeProcessorAddCompleteNotify:
        HpnProcessorComplete(sync, ChangeContext);
        break;

    case KeProcessorAddFailureNotify:
        HpnProcessorFree(sync, ChangeContext->NtNumber);
        break;

    default:
        break;
    }

    ExReleaseRundownProtection(&sync->Callbacks);
    HpnSyncExitRecord(sync, enter, ChangeContext, *OperationStatus);
}

_Use_decl_annotations_
VOID
HpnSyncInitialize(
    PHPN_SYNC Sync,
    PHPN_LOG Log,
    PHPN_VETO Veto,
    BOOLEAN Works
    )
{
    Sync->Log = Log;
    Sync->Veto = Veto;
    Sync->Works = Works;
}

/*
 * Registers the callback. NULL from the system becomes the error that the callback vetoed with, or
 * STATUS_UNSUCCESSFUL. The pages disagree on the result after a veto, so a returned handle is deregistered too.
 */
_Use_decl_annotations_
NTSTATUS
HpnSyncRegister(
    PHPN_SYNC Sync,
    ULONG Flags
    )
{
    NTSTATUS status;
    WDF_OBJECT_ATTRIBUTES attributes;
    SIZE_T bytes;
    ULONG64 enter;

    PAGED_CODE();

    if (Sync->Handle != NULL) {
        return STATUS_INVALID_DEVICE_STATE;
    }

    Sync->Status = STATUS_SUCCESS;
    Sync->Id = HpnLogRegistration(Sync->Log);
    Sync->ProcessorCount = KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS);
    bytes = Sync->ProcessorCount * sizeof(Sync->Processors[0]);

    WDF_OBJECT_ATTRIBUTES_INIT(&attributes);
    attributes.ParentObject = Sync->Log->Framework;
    status = WdfMemoryCreate(
        &attributes, NonPagedPoolNx, HPN_POOL_TAG, bytes, &Sync->ProcessorsMemory, (PVOID *)&Sync->Processors);
    if (!NT_SUCCESS(status)) {
        Sync->ProcessorCount = 0;
        Sync->ProcessorsMemory = NULL;
        return status;
    }

    RtlZeroMemory(Sync->Processors, bytes);
    KeInitializeSpinLock(&Sync->Lock);
    ExInitializeRundownProtection(&Sync->Callbacks);

    enter = HpnLogCallEnter(Sync->Log, "reg_sync", Sync->Id, Flags, "", Sync);
    Sync->Handle = KeRegisterProcessorChangeCallback(HpnProcessorChange, Sync, Flags);
    status = Sync->Status;
    if (Sync->Handle == NULL && NT_SUCCESS(status)) {
        status = STATUS_UNSUCCESSFUL;
    }
    HpnLogCallExit(Sync->Log, enter, "reg_sync", status, Sync->Id, Sync->Handle);

    if (!NT_SUCCESS(status)) {
        HpnSyncDeregister(Sync);
    }

    return status;
}

/* Ends a registration, if there is one, and frees what it still has. */
_Use_decl_annotations_
VOID
HpnSyncDeregister(
    PHPN_SYNC Sync
    )
{
    ULONG64 enter;
    ULONG index;

    PAGED_CODE();

    if (Sync->Handle != NULL) {
        enter = HpnLogCallEnter(Sync->Log, "dereg_sync", Sync->Id, 0, "", NULL);
        KeDeregisterProcessorChangeCallback(Sync->Handle);
        HpnLogCallExit(Sync->Log, enter, "dereg_sync", STATUS_SUCCESS, Sync->Id, NULL);
        Sync->Handle = NULL;
    }

    if (Sync->ProcessorsMemory != NULL) {
        ExWaitForRundownProtectionRelease(&Sync->Callbacks);
        for (index = 0; index < Sync->ProcessorCount; index += 1) {
            HpnProcessorFree(Sync, index);
        }

        Sync->ProcessorCount = 0;
        Sync->Processors = NULL;
        WdfObjectDelete(Sync->ProcessorsMemory);
        Sync->ProcessorsMemory = NULL;
    }
}
