/* SPDX-License-Identifier: MIT */
/*
 * Event tracing: the same records as events of a manifest-based provider (hpnotify.man). The events' numbers are those
 * of HPN_RECORD_KIND, counted from 1; their fields are the HEAD, SAMPLE and own fields of the table in records.h.
 *
 * EtwWrite may be called at any IRQL, but above APC_LEVEL its data must be nonpageable: everything written here is in
 * the log, on the stack, or in the driver's image.
 */
#include "trace.h"

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnTraceRegister)
#pragma alloc_text(PAGE, HpnTraceUnregister)
#endif

/* {6F1B0E52-9C3D-4E57-8A64-2D5C8A1E7B90} */
static const GUID HpnProvider = {
    0x6F1B0E52, 0x9C3D, 0x4E57, { 0x8A, 0x64, 0x2D, 0x5C, 0x8A, 0x1E, 0x7B, 0x90 }
};

#define HPN_INFORMATION_LEVEL 4

_Use_decl_annotations_
NTSTATUS
HpnTraceRegister(
    PREGHANDLE Provider
    )
{
    PAGED_CODE();

    return EtwRegister(&HpnProvider, NULL, NULL, Provider);
}

_Use_decl_annotations_
NTSTATUS
HpnTraceUnregister(
    PHPN_TRACE Trace
    )
{
    REGHANDLE provider = Trace->Provider;

    PAGED_CODE();

    Trace->Provider = 0;
    return EtwUnregister(provider);
}

static
ULONG
HpnTraceFields(
    _Out_writes_(HPN_MOST_FIELDS) PEVENT_DATA_DESCRIPTOR Data,
    _In_ const HPN_FIELD *Fields,
    _In_ const VOID *Record
    )
{
    const HPN_FIELD *field;
    const UCHAR *value;
    PCUNICODE_STRING wide;
    PCSTR text;
    ULONG count = 0;
    ULONG length;

    for (field = Fields; field->Key != NULL; field += 1) {
        value = (const UCHAR *)Record + field->Offset;
        switch (field->Format) {
        case HpnFormatText:
            text = *(const PCSTR *)value;
            for (length = 0; text[length] != '\0'; length += 1) {
            }
            EventDataDescCreate(&Data[count], text, length + 1);
            break;

        case HpnFormatWideText:
            /* A wide text of a record always ends with a zero character. */
            wide = *(const PCUNICODE_STRING *)value;
            EventDataDescCreate(&Data[count], wide->Buffer, wide->Length + (ULONG)sizeof(WCHAR));
            break;

        default:
            EventDataDescCreate(&Data[count], value, sizeof(ULONG64));
            break;
        }
        count += 1;
    }

    return count;
}

_Use_decl_annotations_
VOID
HpnTraceRecord(
    PHPN_TRACE Trace,
    const HPN_SAMPLE *Sample,
    HPN_RECORD_KIND Kind,
    const VOID *Fields
    )
{
    EVENT_DESCRIPTOR descriptor = { 0 };
    ULONG count;

    if (Trace->Provider == 0) {
        return;
    }

    descriptor.Id = (USHORT)(Kind + 1);
    descriptor.Level = HPN_INFORMATION_LEVEL;
    count = HpnTraceFields(Trace->Data, HpnHeadFields, Sample);
    count += HpnTraceFields(&Trace->Data[count], HpnSampleFields, Sample);
    count += HpnTraceFields(&Trace->Data[count], HpnLayouts[Kind].Fields, Fields);
    if (!NT_SUCCESS(EtwWrite(Trace->Provider, &descriptor, NULL, count, Trace->Data))) {
        Trace->Failures += 1;
    }
}
