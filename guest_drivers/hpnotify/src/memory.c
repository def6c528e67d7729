/* SPDX-License-Identifier: MIT */
/* How much memory there is, and a buffer that keeps in step with it. */
#include "hpnotify.h"

/* The buffer is one part in so many of physical memory, between the limits. */
#define HPN_BUFFER_SHARE 4096
#define HPN_BUFFER_STEP 0x1000
#define HPN_SMALLEST_BUFFER 0x10000
#define HPN_LARGEST_BUFFER 0x1000000

typedef
PPHYSICAL_MEMORY_RANGE
HPN_GET_PHYSICAL_MEMORY_RANGES(
    _In_opt_ PVOID PartitionObject,
    _In_ ULONG Flags
    );

/* Total physical memory in bytes, or 0 where the system has no documented way to ask (before Windows 10 2004). */
_Use_decl_annotations_
ULONG64
HpnPhysicalMemory(
    VOID
    )
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"MmGetPhysicalMemoryRangesEx2");
    HPN_GET_PHYSICAL_MEMORY_RANGES *getRanges;
    PPHYSICAL_MEMORY_RANGE ranges;
    ULONG64 total = 0;
    ULONG index;

    getRanges = (HPN_GET_PHYSICAL_MEMORY_RANGES *)(ULONG_PTR)MmGetSystemRoutineAddress(&name);
    if (getRanges == NULL) {
        return 0;
    }

    ranges = getRanges(NULL, 0);
    if (ranges == NULL) {
        return 0;
    }

    for (index = 0; ranges[index].NumberOfBytes.QuadPart != 0; index += 1) {
        total += (ULONG64)ranges[index].NumberOfBytes.QuadPart;
    }

    ExFreePool(ranges);
    return total;
}

_Use_decl_annotations_
VOID
HpnBufferInitialize(
    PHPN_BUFFER Buffer
    )
{
    KeInitializeSpinLock(&Buffer->Lock);
    Buffer->Memory = NULL;
    Buffer->Bytes = 0;
}

/*
 * Grows the buffer to its share of Total bytes; never shrinks it. If Total is unknown it doubles. Nothing is lost if
 * there is no memory for a larger one: the buffer stays as it is. Must not block, so nothing is waited for.
 */
_Use_decl_annotations_
VOID
HpnBufferGrow(
    PHPN_DRIVER Driver,
    ULONG64 Total
    )
{
    PHPN_BUFFER buffer = &Driver->Buffer;
    WDF_OBJECT_ATTRIBUTES attributes;
    HPN_Grow record = { 0 };
    WDFMEMORY memory;
    WDFMEMORY loser;
    SIZE_T before;
    SIZE_T bytes;
    PVOID unused;
    KIRQL irql;

    KeAcquireSpinLock(&buffer->Lock, &irql);
    before = buffer->Bytes;
    KeReleaseSpinLock(&buffer->Lock, irql);

    bytes = Total != 0 ? (SIZE_T)(Total / HPN_BUFFER_SHARE) & ~(SIZE_T)(HPN_BUFFER_STEP - 1) : before * 2;
    if (bytes < HPN_SMALLEST_BUFFER) {
        bytes = HPN_SMALLEST_BUFFER;
    } else if (bytes > HPN_LARGEST_BUFFER) {
        bytes = HPN_LARGEST_BUFFER;
    }

    WDF_OBJECT_ATTRIBUTES_INIT(&attributes);
    attributes.ParentObject = Driver->Framework;
    if (bytes <= before ||
        !NT_SUCCESS(WdfMemoryCreate(&attributes, PagedPool, HPN_POOL_TAG, bytes, &memory, &unused))) {
        return;
    }

    /* Another arrival may have grown it meanwhile. */
    loser = memory;
    KeAcquireSpinLock(&buffer->Lock, &irql);
    if (bytes > buffer->Bytes) {
        loser = buffer->Memory;
        record.Before = buffer->Bytes;
        record.After = bytes;
        buffer->Memory = memory;
        buffer->Bytes = bytes;
    }
    KeReleaseSpinLock(&buffer->Lock, irql);

    if (loser != NULL) {
        WdfObjectDelete(loser);
    }
    if (record.After != 0) {
        HpnLogRecord(&Driver->Log, HpnRecordGrow, &record);
    }
}
