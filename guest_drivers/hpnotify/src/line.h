/* SPDX-License-Identifier: MIT */
/* Text into a line of bounded length. What does not fit is omitted; nothing here fails or allocates. */
#ifndef HPNOTIFY_LINE_H
#define HPNOTIFY_LINE_H

#include <ntddk.h>

typedef struct _HPN_LINE {
    PSTR Buffer;
    ULONG Capacity;
    ULONG Length;
} HPN_LINE, *PHPN_LINE;

VOID
HpnLineText(
    _Inout_ PHPN_LINE Line,
    _In_z_ PCSTR Text
    );

VOID
HpnLineDecimal(
    _Inout_ PHPN_LINE Line,
    _In_ ULONG64 Value
    );

VOID
HpnLineHexadecimal(
    _Inout_ PHPN_LINE Line,
    _In_ ULONG64 Value,
    _In_ ULONG Digits
    );

VOID
HpnLineEncoded(
    _Inout_ PHPN_LINE Line,
    _In_z_ PCSTR Text,
    _In_ ULONG Limit
    );

VOID
HpnLineWide(
    _Inout_ PHPN_LINE Line,
    _In_ PCUNICODE_STRING Text,
    _In_ ULONG Limit
    );

ULONG
HpnCrc32(
    _In_ ULONG Crc,
    _In_reads_bytes_(Length) const VOID *Bytes,
    _In_ ULONG Length
    );

#endif
