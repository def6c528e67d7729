/* SPDX-License-Identifier: MIT */
/*
 * The ring: the last records, in nonpaged memory, for reading by request. Writing happens under the log's lock. A
 * record that was not read in time is overwritten and counted.
 */
#include "pool.h"
#include "ring.h"

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnRingCreate)
#endif

_Use_decl_annotations_
NTSTATUS
HpnRingCreate(
    WDFDRIVER Framework,
    PHPN_RING Ring,
    ULONG Capacity
    )
{
    WDF_OBJECT_ATTRIBUTES attributes;
    WDFMEMORY memory;

    PAGED_CODE();

    WDF_OBJECT_ATTRIBUTES_INIT(&attributes);
    attributes.ParentObject = Framework;
    Ring->Capacity = Capacity;
    return WdfMemoryCreate(
        &attributes, NonPagedPoolNx, HPN_POOL_TAG, Capacity * sizeof(Ring->Lines[0]), &memory, (PVOID *)&Ring->Lines);
}

_Use_decl_annotations_
VOID
HpnRingWrite(
    PHPN_RING Ring,
    PCSTR Line,
    ULONG Length
    )
{
    PHPN_RING_LINE line = &Ring->Lines[Ring->Written % Ring->Capacity];

    if (Ring->Written - Ring->Read == Ring->Capacity) {
        Ring->Read += 1;
        Ring->Overrun += 1;
    }

    RtlCopyMemory(line->Text, Line, Length);
    line->Length = Length;
    Ring->Written += 1;
}

/* Copies the oldest unread line if it fits, and returns its length, or 0. */
_Use_decl_annotations_
ULONG
HpnRingRead(
    PHPN_RING Ring,
    PSTR Buffer,
    SIZE_T Room
    )
{
    PHPN_RING_LINE line = &Ring->Lines[Ring->Read % Ring->Capacity];

    if (Ring->Read == Ring->Written || line->Length > Room) {
        return 0;
    }

    RtlCopyMemory(Buffer, line->Text, line->Length);
    Ring->Read += 1;
    return line->Length;
}
