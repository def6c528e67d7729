/* SPDX-License-Identifier: MIT */
/*
 * Requests to the control device, as a table: the code, the size of its buffers and the routine that executes it.
 *
 * Input from user mode is not trusted. Every length is checked in one place, HpnRequest, before a routine runs: an input
 * buffer must have exactly its structure's size, an output buffer at least its structure's size, and a request without
 * one of them must not have it. So a routine checks only the values.
 */
#include "balance.h"
#include "request.h"

/* A request whose buffers were checked. No request has both: they are the same memory (METHOD_BUFFERED). */
typedef struct _HPN_REQUEST {
    PHPN_DRIVER Driver;
    PVOID Input;
    PVOID Output;
    size_t OutputLength;
    /* The bytes written to Output. */
    ULONG_PTR Information;
} HPN_REQUEST, *PHPN_REQUEST;

typedef
_IRQL_requires_(PASSIVE_LEVEL)
NTSTATUS
HPN_REQUEST_ROUTINE(
    _Inout_ PHPN_REQUEST Request
    );

typedef struct _HPN_REQUEST_ENTRY {
    ULONG Code;
    ULONG InputLength;
    ULONG SmallestOutput;
    HPN_REQUEST_ROUTINE *Routine;
} HPN_REQUEST_ENTRY;

static HPN_REQUEST_ROUTINE HpnRequestVeto;
static HPN_REQUEST_ROUTINE HpnRequestMark;
static HPN_REQUEST_ROUTINE HpnRequestDetach;
static HPN_REQUEST_ROUTINE HpnRequestReadRing;
static HPN_REQUEST_ROUTINE HpnRequestStatistics;
static HPN_REQUEST_ROUTINE HpnRequestDelay;
static HPN_REQUEST_ROUTINE HpnRequestRegister;
static HPN_REQUEST_ROUTINE HpnRequestDeregister;
static HPN_REQUEST_ROUTINE HpnRequestFlush;
static HPN_REQUEST_ROUTINE HpnRequestWork;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnRequestVeto)
#pragma alloc_text(PAGE, HpnRequestMark)
#pragma alloc_text(PAGE, HpnRequestDetach)
#pragma alloc_text(PAGE, HpnRequestReadRing)
#pragma alloc_text(PAGE, HpnRequestStatistics)
#pragma alloc_text(PAGE, HpnRequestDelay)
#pragma alloc_text(PAGE, HpnRequestRegister)
#pragma alloc_text(PAGE, HpnRequestDeregister)
#pragma alloc_text(PAGE, HpnRequestFlush)
#pragma alloc_text(PAGE, HpnRequestWork)
#pragma alloc_text(PAGE, HpnRequest)
#endif

static const HPN_REQUEST_ENTRY HpnRequests[] = {
    { IOCTL_HPNOTIFY_VETO, sizeof(HPNOTIFY_VETO), 0, HpnRequestVeto },
    { IOCTL_HPNOTIFY_MARK, sizeof(HPNOTIFY_MARK), 0, HpnRequestMark },
    { IOCTL_HPNOTIFY_DETACH, 0, 0, HpnRequestDetach },
    { IOCTL_HPNOTIFY_READ_RING, 0, HPN_LINE_BYTES, HpnRequestReadRing },
    { IOCTL_HPNOTIFY_STATISTICS, 0, sizeof(HPNOTIFY_STATISTICS), HpnRequestStatistics },
    { IOCTL_HPNOTIFY_DELAY, sizeof(HPNOTIFY_DELAY), 0, HpnRequestDelay },
    { IOCTL_HPNOTIFY_REGISTER, sizeof(HPNOTIFY_REGISTRATION), 0, HpnRequestRegister },
    { IOCTL_HPNOTIFY_DEREGISTER, sizeof(HPNOTIFY_REGISTRATION), 0, HpnRequestDeregister },
    { IOCTL_HPNOTIFY_FLUSH, 0, 0, HpnRequestFlush },
    { IOCTL_HPNOTIFY_WORK, sizeof(HPNOTIFY_WORK), 0, HpnRequestWork },
};

_Use_decl_annotations_
static
NTSTATUS
HpnRequestVeto(
    PHPN_REQUEST Request
    )
{
    const HPNOTIFY_VETO *veto = Request->Input;

    PAGED_CODE();

    if (veto->Nth == 0) {
        return STATUS_INVALID_PARAMETER;
    }

    HpnVetoSet(&Request->Driver->Veto, (NTSTATUS)veto->Status, veto->Nth);
    return STATUS_SUCCESS;
}

_Use_decl_annotations_
static
NTSTATUS
HpnRequestMark(
    PHPN_REQUEST Request
    )
{
    const HPNOTIFY_MARK *mark = Request->Input;
    CHAR nonce[HPNOTIFY_NONCE_CHARACTERS + 1];
    HPN_Mark record;
    ULONG index;
    CHAR byte;

    PAGED_CODE();

    for (index = 0; index < HPNOTIFY_NONCE_CHARACTERS && mark->Nonce[index] != '\0'; index += 1) {
        byte = mark->Nonce[index];
        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9'))) {
            return STATUS_INVALID_PARAMETER;
        }
        nonce[index] = byte;
    }

    if (index == 0) {
        return STATUS_INVALID_PARAMETER;
    }

    nonce[index] = '\0';
    record.Nonce = nonce;
    HpnLogRecord(&Request->Driver->Log, HpnRecordMark, &record);
    return STATUS_SUCCESS;
}

_Use_decl_annotations_
static
NTSTATUS
HpnRequestDetach(
    PHPN_REQUEST Request
    )
{
    PAGED_CODE();

    HpnAsyncUnregister(&Request->Driver->MemoryArrival);
    HpnAsyncUnregister(&Request->Driver->ProcessorArrival);
    return STATUS_SUCCESS;
}

_Use_decl_annotations_
static
NTSTATUS
HpnRequestReadRing(
    PHPN_REQUEST Request
    )
{
    PAGED_CODE();

    Request->Information = HpnLogRead(&Request->Driver->Log, Request->Output, Request->OutputLength);
    return STATUS_SUCCESS;
}

_Use_decl_annotations_
static
NTSTATUS
HpnRequestStatistics(
    PHPN_REQUEST Request
    )
{
    HPNOTIFY_STATISTICS *statistics = Request->Output;
    PHPN_SYNC sync = &Request->Driver->Sync[0];
    size_t room;
    ULONG count;

    PAGED_CODE();

    room = (Request->OutputLength - sizeof(*statistics)) / sizeof(HPNOTIFY_PROCESSOR);
    if (room > sync->ProcessorCount) {
        room = sync->ProcessorCount;
    }

    RtlZeroMemory(statistics, sizeof(*statistics));
    HpnLogAccount(&Request->Driver->Log, statistics);
    statistics->BufferBytes = HpnBufferBytes(&Request->Driver->Buffer);
    count = HpnBalanceAccount(sync, statistics, (HPNOTIFY_PROCESSOR *)(statistics + 1), (ULONG)room);
    Request->Information = sizeof(*statistics) + count * sizeof(HPNOTIFY_PROCESSOR);
    return STATUS_SUCCESS;
}

_Use_decl_annotations_
static
NTSTATUS
HpnRequestDelay(
    PHPN_REQUEST Request
    )
{
    const HPNOTIFY_DELAY *delay = Request->Input;
    ULONG index;

    PAGED_CODE();

    if (delay->Milliseconds > HPNOTIFY_MOST_DELAY) {
        return STATUS_INVALID_PARAMETER;
    }

    for (index = 0; index < HPN_SYNC_REGISTRATIONS; index += 1) {
        InterlockedExchange(&Request->Driver->Sync[index].StartDelay, (LONG)delay->Milliseconds);
    }
    return STATUS_SUCCESS;
}

_Use_decl_annotations_
static
NTSTATUS
HpnRequestRegister(
    PHPN_REQUEST Request
    )
{
    const HPNOTIFY_REGISTRATION *registration = Request->Input;

    PAGED_CODE();

    if (registration->Flags > 1) {
        return STATUS_INVALID_PARAMETER;
    }

    switch (registration->Which) {
    case HPNOTIFY_FIRST_SYNC:
    case HPNOTIFY_SECOND_SYNC:
        return HpnSyncRegister(&Request->Driver->Sync[registration->Which], registration->Flags);

    case HPNOTIFY_PROCESSOR_ARRIVAL:
        return HpnAsyncRegister(&Request->Driver->ProcessorArrival, registration->Flags);

    case HPNOTIFY_MEMORY_ARRIVAL:
        return HpnAsyncRegister(&Request->Driver->MemoryArrival, registration->Flags);

    default:
        return STATUS_INVALID_PARAMETER;
    }
}

_Use_decl_annotations_
static
NTSTATUS
HpnRequestDeregister(
    PHPN_REQUEST Request
    )
{
    const HPNOTIFY_REGISTRATION *registration = Request->Input;

    PAGED_CODE();

    switch (registration->Which) {
    case HPNOTIFY_FIRST_SYNC:
    case HPNOTIFY_SECOND_SYNC:
        HpnSyncDeregister(&Request->Driver->Sync[registration->Which]);
        return STATUS_SUCCESS;

    case HPNOTIFY_PROCESSOR_ARRIVAL:
        HpnAsyncUnregister(&Request->Driver->ProcessorArrival);
        return STATUS_SUCCESS;

    case HPNOTIFY_MEMORY_ARRIVAL:
        HpnAsyncUnregister(&Request->Driver->MemoryArrival);
        return STATUS_SUCCESS;

    default:
        return STATUS_INVALID_PARAMETER;
    }
}

_Use_decl_annotations_
static
NTSTATUS
HpnRequestFlush(
    PHPN_REQUEST Request
    )
{
    PAGED_CODE();

    HpnLogFlush(&Request->Driver->Log);
    return STATUS_SUCCESS;
}

_Use_decl_annotations_
static
NTSTATUS
HpnRequestWork(
    PHPN_REQUEST Request
    )
{
    const HPNOTIFY_WORK *work = Request->Input;

    PAGED_CODE();

    if (work->Items > HPNOTIFY_MOST_WORK) {
        return STATUS_INVALID_PARAMETER;
    }

    return HpnBalance(&Request->Driver->Sync[0], work->Items);
}

static
const HPN_REQUEST_ENTRY *
HpnRequestFind(
    _In_ ULONG Code
    )
{
    ULONG index;

    for (index = 0; index < RTL_NUMBER_OF(HpnRequests); index += 1) {
        if (HpnRequests[index].Code == Code) {
            return &HpnRequests[index];
        }
    }

    return NULL;
}

_Use_decl_annotations_
NTSTATUS
HpnRequest(
    PHPN_DRIVER Driver,
    WDFREQUEST Request,
    ULONG Code,
    size_t InputLength,
    size_t OutputLength,
    ULONG_PTR *Information
    )
{
    const HPN_REQUEST_ENTRY *entry = HpnRequestFind(Code);
    HPN_REQUEST request = { 0 };
    NTSTATUS status;

    PAGED_CODE();

    *Information = 0;
    if (entry == NULL) {
        return STATUS_INVALID_DEVICE_REQUEST;
    }

    if (InputLength != entry->InputLength || (OutputLength != 0 && entry->SmallestOutput == 0)) {
        return STATUS_INVALID_BUFFER_SIZE;
    }

    request.Driver = Driver;
    if (entry->InputLength != 0) {
        status = WdfRequestRetrieveInputBuffer(Request, entry->InputLength, &request.Input, NULL);
        if (!NT_SUCCESS(status)) {
            return status;
        }
    }

    if (entry->SmallestOutput != 0) {
        status = WdfRequestRetrieveOutputBuffer(
            Request, entry->SmallestOutput, &request.Output, &request.OutputLength);
        if (!NT_SUCCESS(status)) {
            return status;
        }
    }

    status = entry->Routine(&request);
    *Information = request.Information;
    return status;
}
