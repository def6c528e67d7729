/* SPDX-License-Identifier: MIT */
/* The amount of memory, and a buffer that grows with it. */
#include "memory.h"
#include "pool.h"

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnPhysicalMemory)
#endif

/* The buffer is this fraction of physical memory, between the limits. */
#define HPN_BUFFER_SHARE 4096
#define HPN_BUFFER_STEP 0x1000
#define HPN_SMALLEST_BUFFER 0x10000
#define HPN_LARGEST_BUFFER 0x1000000

typedef
PPHYSICAL_MEMORY_RANGE
HPN_GET_PHYSICAL_MEMORY_RANGES(
    VOID
    );

typedef
PPHYSICAL_MEMORY_RANGE
HPN_GET_PHYSICAL_MEMORY_RANGES_EX2(
    _In_opt_ PVOID PartitionObject,
    _In_ ULONG Flags
    );

/*
 * Ranges of physical memory, the last of 0 bytes, to be freed with ExFreePool; NULL if the system has no routine for
 * it. MmGetPhysicalMemoryRangesEx2 came with Windows 10 2004 (DDI: ntddk/nf-ntddk-mmgetphysicalmemoryrangesex2.md).
 * Before it, and so on Windows Server 2019, there is MmGetPhysicalMemoryRanges, which ntddk.h declares and no page
 * documents.
 */
static
PPHYSICAL_MEMORY_RANGE
HpnGetPhysicalMemoryRanges(
    VOID
    )
{
    UNICODE_STRING newer = RTL_CONSTANT_STRING(L"MmGetPhysicalMemoryRangesEx2");
    UNICODE_STRING older = RTL_CONSTANT_STRING(L"MmGetPhysicalMemoryRanges");
    HPN_GET_PHYSICAL_MEMORY_RANGES_EX2 *getRangesEx2;
    HPN_GET_PHYSICAL_MEMORY_RANGES *getRanges;

    getRangesEx2 = (HPN_GET_PHYSICAL_MEMORY_RANGES_EX2 *)(ULONG_PTR)MmGetSystemRoutineAddress(&newer);
    if (getRangesEx2 != NULL) {
        return getRangesEx2(NULL, 0);
    }

    getRanges = (HPN_GET_PHYSICAL_MEMORY_RANGES *)(ULONG_PTR)MmGetSystemRoutineAddress(&older);
    return getRanges != NULL ? getRanges() : NULL;
}

_Use_decl_annotations_
ULONG64
HpnPhysicalMemory(
    VOID
    )
{
    PPHYSICAL_MEMORY_RANGE ranges;
    ULONG64 total = 0;
    ULONG index;

    PAGED_CODE();

    ranges = HpnGetPhysicalMemoryRanges();
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
    PHPN_BUFFER Buffer,
    PHPN_LOG Log
    )
{
    Buffer->Log = Log;
    KeInitializeSpinLock(&Buffer->Lock);
    Buffer->Memory = NULL;
    Buffer->Bytes = 0;
}

_Use_decl_annotations_
SIZE_T
HpnBufferBytes(
    PHPN_BUFFER Buffer
    )
{
    SIZE_T bytes;
    KIRQL irql;

    KeAcquireSpinLock(&Buffer->Lock, &irql);
    bytes = Buffer->Bytes;
    KeReleaseSpinLock(&Buffer->Lock, irql);
    return bytes;
}

/*
 * Grows the buffer to its share of Total bytes; never shrinks it. If Total is unknown it doubles. If there is no
 * memory for a larger one, the buffer stays as it is. Must not block, so it does not wait.
 */
_Use_decl_annotations_
VOID
HpnBufferGrow(
    PHPN_BUFFER Buffer,
    ULONG64 Total
    )
{
    WDF_OBJECT_ATTRIBUTES attributes;
    HPN_Grow record = { 0 };
    WDFMEMORY memory;
    WDFMEMORY loser;
    SIZE_T before;
    SIZE_T bytes;
    PVOID unused;
    KIRQL irql;

    before = HpnBufferBytes(Buffer);
    bytes = Total != 0 ? (SIZE_T)(Total / HPN_BUFFER_SHARE) & ~(SIZE_T)(HPN_BUFFER_STEP - 1) : before * 2;
    if (bytes < HPN_SMALLEST_BUFFER) {
        bytes = HPN_SMALLEST_BUFFER;
    } else if (bytes > HPN_LARGEST_BUFFER) {
        bytes = HPN_LARGEST_BUFFER;
    }

    WDF_OBJECT_ATTRIBUTES_INIT(&attributes);
    attributes.ParentObject = Buffer->Log->Framework;
    if (bytes <= before ||
        !NT_SUCCESS(WdfMemoryCreate(&attributes, PagedPool, HPN_POOL_TAG, bytes, &memory, &unused))) {
        return;
    }

    /* Another arrival may have grown it meanwhile. */
    loser = memory;
    KeAcquireSpinLock(&Buffer->Lock, &irql);
    if (bytes > Buffer->Bytes) {
        loser = Buffer->Memory;
        record.Before = Buffer->Bytes;
        record.After = bytes;
        Buffer->Memory = memory;
        Buffer->Bytes = bytes;
    }
    KeReleaseSpinLock(&Buffer->Lock, irql);

    if (loser != NULL) {
        WdfObjectDelete(loser);
    }
    if (record.After != 0) {
        HpnLogRecord(Buffer->Log, HpnRecordGrow, &record);
    }
}
