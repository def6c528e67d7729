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
#include "hpnotify.h"

static PROCESSOR_CALLBACK_FUNCTION HpnProcessorChange;

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
    HpnLogRecord(&Sync->Driver->Log, HpnRecordFree, &record);
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
    attributes.ParentObject = Sync->Driver->Framework;
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
    HpnLogRecord(&Sync->Driver->Log, HpnRecordAlloc, &record);

    status = HpnVetoTake(&Sync->Driver->Veto);
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
    if (NT_SUCCESS(HpnWorkerStart(Sync->Driver, &processor->Worker, Change->NtNumber, Change->ProcNumber))) {
        KeAcquireSpinLock(&Sync->Lock, &irql);
        processor->Running = TRUE;
        KeReleaseSpinLock(&Sync->Lock, irql);
    }
}

/* Takes the requested time, so that concurrent events can be observed. */
static
VOID
HpnStartDelay(
    _In_ PHPN_DRIVER Driver
    )
{
    LARGE_INTEGER interval;
    LONG milliseconds = ReadNoFence(&Driver->StartDelay);

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
    return HpnLogRecord(&Sync->Driver->Log, HpnRecordSyncEnter, &record);
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
    HpnLogRecord(&Sync->Driver->Log, HpnRecordSyncExit, &record);
}

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

    enter = HpnSyncEnterRecord(sync, ChangeContext, *OperationStatus);

    /* A callback after the end of its registration is only recorded: its data is freed. */
    if (!ExAcquireRundownProtection(&sync->Callbacks)) {
        HpnSyncExitRecord(sync, enter, ChangeContext, *OperationStatus);
        return;
    }

    switch (ChangeContext->State) {
    case KeProcessorAddStartNotify:
        HpnStartDelay(sync->Driver);

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

/*
 * Registers the callback. NULL from the system becomes the error that the callback vetoed with, or
 * STATUS_UNSUCCESSFUL. The pages disagree on the result after a veto, so a returned handle is deregistered too.
 */
_Use_decl_annotations_
NTSTATUS
HpnSyncRegister(
    PHPN_DRIVER Driver,
    PHPN_SYNC Sync,
    ULONG Flags
    )
{
    NTSTATUS status;
    WDF_OBJECT_ATTRIBUTES attributes;
    SIZE_T bytes;
    ULONG64 enter;

    if (Sync->Handle != NULL) {
        return STATUS_INVALID_DEVICE_STATE;
    }

    Sync->Driver = Driver;
    Sync->Status = STATUS_SUCCESS;
    Sync->Id = (ULONG)InterlockedIncrement(&Driver->Registrations);
    Sync->ProcessorCount = KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS);
    bytes = Sync->ProcessorCount * sizeof(Sync->Processors[0]);

    WDF_OBJECT_ATTRIBUTES_INIT(&attributes);
    attributes.ParentObject = Driver->Framework;
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

    enter = HpnLogCallEnter(&Driver->Log, "reg_sync", Sync->Id, Flags, "", Sync);
    Sync->Handle = KeRegisterProcessorChangeCallback(HpnProcessorChange, Sync, Flags);
    status = Sync->Status;
    if (Sync->Handle == NULL && NT_SUCCESS(status)) {
        status = STATUS_UNSUCCESSFUL;
    }
    HpnLogCallExit(&Driver->Log, enter, "reg_sync", status, Sync->Id, Sync->Handle);

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

    if (Sync->Handle != NULL) {
        enter = HpnLogCallEnter(&Sync->Driver->Log, "dereg_sync", Sync->Id, 0, "", NULL);
        KeDeregisterProcessorChangeCallback(Sync->Handle);
        HpnLogCallExit(&Sync->Driver->Log, enter, "dereg_sync", STATUS_SUCCESS, Sync->Id, NULL);
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
