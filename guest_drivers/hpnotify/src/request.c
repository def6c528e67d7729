/* SPDX-License-Identifier: MIT */
/*
 * Requests to the control device. Input from user mode is not trusted: every length is checked here, an input buffer
 * must have exactly its structure's size, and a request without input must not have a buffer.
 */
#include "hpnotify.h"

static
_Must_inspect_result_
NTSTATUS
HpnInput(
    _In_ WDFREQUEST Request,
    _In_ size_t Given,
    _In_ size_t Exact,
    _Outptr_ PVOID *Buffer
    )
{
    if (Given != Exact) {
        return STATUS_INVALID_BUFFER_SIZE;
    }

    return WdfRequestRetrieveInputBuffer(Request, Exact, Buffer, NULL);
}

static
NTSTATUS
HpnRequestVeto(
    _In_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ size_t InputLength
    )
{
    HPNOTIFY_VETO *veto;
    NTSTATUS status;

    status = HpnInput(Request, InputLength, sizeof(*veto), (PVOID *)&veto);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    if (veto->Nth == 0) {
        return STATUS_INVALID_PARAMETER;
    }

    HpnVetoSet(&Driver->Veto, (NTSTATUS)veto->Status, veto->Nth);
    return STATUS_SUCCESS;
}

static
NTSTATUS
HpnRequestMark(
    _In_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ size_t InputLength
    )
{
    HPNOTIFY_MARK *mark;
    CHAR nonce[HPNOTIFY_NONCE_CHARACTERS + 1];
    HPN_Mark record;
    NTSTATUS status;
    ULONG index;
    CHAR byte;

    status = HpnInput(Request, InputLength, sizeof(*mark), (PVOID *)&mark);
    if (!NT_SUCCESS(status)) {
        return status;
    }

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
    HpnLogRecord(&Driver->Log, HpnRecordMark, &record);
    return STATUS_SUCCESS;
}

static
NTSTATUS
HpnRequestDetach(
    _In_ PHPN_DRIVER Driver,
    _In_ size_t InputLength,
    _In_ size_t OutputLength
    )
{
    if (InputLength != 0 || OutputLength != 0) {
        return STATUS_INVALID_BUFFER_SIZE;
    }

    HpnAsyncUnregister(&Driver->MemoryArrival);
    HpnAsyncUnregister(&Driver->ProcessorArrival);
    return STATUS_SUCCESS;
}

static
NTSTATUS
HpnRequestReadRing(
    _In_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ size_t InputLength,
    _Out_ ULONG_PTR *Information
    )
{
    NTSTATUS status;
    PVOID buffer;
    size_t length;

    if (InputLength != 0) {
        return STATUS_INVALID_BUFFER_SIZE;
    }

    status = WdfRequestRetrieveOutputBuffer(Request, HPN_LINE_BYTES, &buffer, &length);
    if (NT_SUCCESS(status)) {
        *Information = HpnLogRead(&Driver->Log, buffer, length);
    }

    return status;
}

static
NTSTATUS
HpnRequestStatistics(
    _In_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ size_t InputLength,
    _Out_ ULONG_PTR *Information
    )
{
    HPNOTIFY_STATISTICS *statistics;
    NTSTATUS status;
    size_t length;
    size_t room;
    ULONG count;

    if (InputLength != 0) {
        return STATUS_INVALID_BUFFER_SIZE;
    }

    status = WdfRequestRetrieveOutputBuffer(Request, sizeof(*statistics), (PVOID *)&statistics, &length);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    room = (length - sizeof(*statistics)) / sizeof(HPNOTIFY_PROCESSOR);
    if (room > Driver->Sync[0].ProcessorCount) {
        room = Driver->Sync[0].ProcessorCount;
    }

    count = HpnStatistics(Driver, statistics, (HPNOTIFY_PROCESSOR *)(statistics + 1), (ULONG)room);
    *Information = sizeof(*statistics) + count * sizeof(HPNOTIFY_PROCESSOR);
    return STATUS_SUCCESS;
}

static
NTSTATUS
HpnRequestDelay(
    _In_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ size_t InputLength
    )
{
    HPNOTIFY_DELAY *delay;
    NTSTATUS status;

    status = HpnInput(Request, InputLength, sizeof(*delay), (PVOID *)&delay);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    if (delay->Milliseconds > HPNOTIFY_MOST_DELAY) {
        return STATUS_INVALID_PARAMETER;
    }

    InterlockedExchange(&Driver->StartDelay, (LONG)delay->Milliseconds);
    return STATUS_SUCCESS;
}

static
NTSTATUS
HpnRequestRegister(
    _In_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ size_t InputLength
    )
{
    HPNOTIFY_REGISTRATION *registration;
    NTSTATUS status;

    status = HpnInput(Request, InputLength, sizeof(*registration), (PVOID *)&registration);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    if (registration->Flags > 1) {
        return STATUS_INVALID_PARAMETER;
    }

    switch (registration->Which) {
    case HPNOTIFY_FIRST_SYNC:
    case HPNOTIFY_SECOND_SYNC:
        return HpnSyncRegister(Driver, &Driver->Sync[registration->Which], registration->Flags);

    case HPNOTIFY_PROCESSOR_ARRIVAL:
        return HpnAsyncRegister(Driver, &Driver->ProcessorArrival, HpnAsyncProcessor, registration->Flags);

    case HPNOTIFY_MEMORY_ARRIVAL:
        return HpnAsyncRegister(Driver, &Driver->MemoryArrival, HpnAsyncMemory, registration->Flags);

    default:
        return STATUS_INVALID_PARAMETER;
    }
}

static
NTSTATUS
HpnRequestDeregister(
    _In_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ size_t InputLength
    )
{
    HPNOTIFY_REGISTRATION *registration;
    NTSTATUS status;

    status = HpnInput(Request, InputLength, sizeof(*registration), (PVOID *)&registration);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    switch (registration->Which) {
    case HPNOTIFY_FIRST_SYNC:
    case HPNOTIFY_SECOND_SYNC:
        HpnSyncDeregister(&Driver->Sync[registration->Which]);
        return STATUS_SUCCESS;

    case HPNOTIFY_PROCESSOR_ARRIVAL:
        HpnAsyncUnregister(&Driver->ProcessorArrival);
        return STATUS_SUCCESS;

    case HPNOTIFY_MEMORY_ARRIVAL:
        HpnAsyncUnregister(&Driver->MemoryArrival);
        return STATUS_SUCCESS;

    default:
        return STATUS_INVALID_PARAMETER;
    }
}

static
NTSTATUS
HpnRequestWork(
    _In_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ size_t InputLength
    )
{
    HPNOTIFY_WORK *work;
    NTSTATUS status;

    status = HpnInput(Request, InputLength, sizeof(*work), (PVOID *)&work);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    if (work->Items > HPNOTIFY_MOST_WORK) {
        return STATUS_INVALID_PARAMETER;
    }

    return HpnBalance(Driver, work->Items);
}

static
NTSTATUS
HpnRequestFlush(
    _In_ PHPN_DRIVER Driver,
    _In_ size_t InputLength,
    _In_ size_t OutputLength
    )
{
    if (InputLength != 0 || OutputLength != 0) {
        return STATUS_INVALID_BUFFER_SIZE;
    }

    HpnLogFlush(&Driver->Log);
    return STATUS_SUCCESS;
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
    *Information = 0;

    switch (Code) {
    case IOCTL_HPNOTIFY_VETO:
        return HpnRequestVeto(Driver, Request, InputLength);

    case IOCTL_HPNOTIFY_MARK:
        return HpnRequestMark(Driver, Request, InputLength);

    case IOCTL_HPNOTIFY_DETACH:
        return HpnRequestDetach(Driver, InputLength, OutputLength);

    case IOCTL_HPNOTIFY_READ_RING:
        return HpnRequestReadRing(Driver, Request, InputLength, Information);

    case IOCTL_HPNOTIFY_STATISTICS:
        return HpnRequestStatistics(Driver, Request, InputLength, Information);

    case IOCTL_HPNOTIFY_DELAY:
        return HpnRequestDelay(Driver, Request, InputLength);

    case IOCTL_HPNOTIFY_REGISTER:
        return HpnRequestRegister(Driver, Request, InputLength);

    case IOCTL_HPNOTIFY_DEREGISTER:
        return HpnRequestDeregister(Driver, Request, InputLength);

    case IOCTL_HPNOTIFY_FLUSH:
        return HpnRequestFlush(Driver, InputLength, OutputLength);

    case IOCTL_HPNOTIFY_WORK:
        return HpnRequestWork(Driver, Request, InputLength);

    default:
        return STATUS_INVALID_DEVICE_REQUEST;
    }
}
