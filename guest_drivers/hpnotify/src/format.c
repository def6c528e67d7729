/* SPDX-License-Identifier: MIT */
/* Writes a record as one line: the head, the kind, the sample, the record's own fields and a checksum. */
#include "format.h"

#define HPN_DESCRIBE(Type, Member, Wire, Format) { " " #Wire "=", HpnFormat##Format, FIELD_OFFSET(Type, Member) },
#define HPN_END_OF_FIELDS { NULL, HpnFormatDecimal, 0 }

const HPN_FIELD HpnHeadFields[] = { HPN_RECORD_HEAD(HPN_DESCRIBE, HPN_SAMPLE) HPN_END_OF_FIELDS };
const HPN_FIELD HpnSampleFields[] = { HPN_RECORD_SAMPLE(HPN_DESCRIBE, HPN_SAMPLE) HPN_END_OF_FIELDS };

#define HPN_FIELDS_OF(Kind, Tag, Fields) \
    static const HPN_FIELD Hpn##Kind##Fields[] = { Fields(HPN_DESCRIBE, HPN_##Kind) HPN_END_OF_FIELDS };

HPN_RECORDS(HPN_FIELDS_OF)

#define HPN_LAYOUT_OF(Kind, Tag, Fields) { Tag, Hpn##Kind##Fields },

const HPN_LAYOUT HpnLayouts[HpnRecordKinds] = { HPN_RECORDS(HPN_LAYOUT_OF) };

/* Bytes reserved after a text for the fields that follow it, the checksum and the newline. */
#define HPN_TAIL_BYTES 64

static
VOID
HpnLineFields(
    _Inout_ PHPN_LINE Line,
    _In_ const HPN_FIELD *Fields,
    _In_ const VOID *Record
    )
{
    const HPN_FIELD *field;
    const UCHAR *value;
    ULONG room;

    for (field = Fields; field->Key != NULL; field += 1) {
        value = (const UCHAR *)Record + field->Offset;
        HpnLineText(Line, field->Key);
        room = Line->Capacity - Line->Length;
        room = room > HPN_TAIL_BYTES ? room - HPN_TAIL_BYTES : 0;

        switch (field->Format) {
        case HpnFormatDecimal:
            HpnLineDecimal(Line, *(const ULONG64 *)value);
            break;

        case HpnFormatSigned:
            if (*(const LONG64 *)value < 0) {
                HpnLineText(Line, "-");
                HpnLineDecimal(Line, 0 - *(const ULONG64 *)value);
            } else {
                HpnLineDecimal(Line, *(const ULONG64 *)value);
            }
            break;

        case HpnFormatHexadecimal:
            HpnLineText(Line, "0x");
            HpnLineHexadecimal(Line, *(const ULONG64 *)value, 0);
            break;

        case HpnFormatNonce:
            HpnLineHexadecimal(Line, *(const ULONG64 *)value, 16);
            break;

        case HpnFormatText:
            HpnLineEncoded(Line, *(const PCSTR *)value, room);
            break;

        case HpnFormatWideText:
            HpnLineWide(Line, *(const PCUNICODE_STRING *)value, room);
            break;
        }
    }
}

_Use_decl_annotations_
ULONG
HpnFormatRecord(
    PSTR Buffer,
    const HPN_SAMPLE *Sample,
    HPN_RECORD_KIND Kind,
    const VOID *Fields
    )
{
    HPN_LINE line;
    ULONG crc;

    line.Buffer = Buffer;
    line.Capacity = HPN_LINE_BYTES;
    line.Length = 0;

    HpnLineText(&line, "HPN1");
    HpnLineFields(&line, HpnHeadFields, Sample);
    HpnLineText(&line, " ev=");
    HpnLineText(&line, HpnLayouts[Kind].Tag);
    HpnLineFields(&line, HpnSampleFields, Sample);
    HpnLineFields(&line, HpnLayouts[Kind].Fields, Fields);

    crc = HpnCrc32(0, line.Buffer, line.Length);
    HpnLineText(&line, " crc=");
    HpnLineHexadecimal(&line, crc, 8);
    HpnLineText(&line, "\n");
    line.Buffer[line.Length] = '\0';
    return line.Length;
}
