/* SPDX-License-Identifier: MIT */
/* The format of a record: its fields in order, for the line (format.c) and for the trace (trace.c). */
#ifndef HPNOTIFY_FORMAT_H
#define HPNOTIFY_FORMAT_H

#include <ntddk.h>

#include "line.h"
#include "records.h"

/* The format of a record's fields and their offsets in its structure; generated from the table in records.h. */
typedef enum _HPN_FORMAT {
    HpnFormatDecimal,
    HpnFormatSigned,
    HpnFormatHexadecimal,
    HpnFormatNonce,
    HpnFormatText,
    HpnFormatWideText
} HPN_FORMAT;

typedef struct _HPN_FIELD {
    PCSTR Key;
    HPN_FORMAT Format;
    ULONG Offset;
} HPN_FIELD;

typedef struct _HPN_LAYOUT {
    PCSTR Tag;
    const HPN_FIELD *Fields;
} HPN_LAYOUT;

/* The fields of every record, before its own: they are in an HPN_SAMPLE. */
extern const HPN_FIELD HpnHeadFields[];
extern const HPN_FIELD HpnSampleFields[];

/* The layout of each kind of record. */
extern const HPN_LAYOUT HpnLayouts[HpnRecordKinds];

/* More fields than any record has. */
#define HPN_MOST_FIELDS 32

/* Writes the whole line of one record into Buffer, newline and a zero byte included, and returns its length. */
ULONG
HpnFormatRecord(
    _Out_writes_(HPN_LINE_BYTES + 1) PSTR Buffer,
    _In_ const HPN_SAMPLE *Sample,
    _In_ HPN_RECORD_KIND Kind,
    _In_ const VOID *Fields
    );

#endif
