/* SPDX-License-Identifier: MIT */
/* Writes text into a line of bounded length. What does not fit is omitted; nothing here fails or allocates. */
#include "line.h"

static const CHAR HpnDigits[] = "0123456789abcdef";

static
VOID
HpnLineByte(
    _Inout_ PHPN_LINE Line,
    _In_ CHAR Byte
    )
{
    if (Line->Length < Line->Capacity) {
        Line->Buffer[Line->Length] = Byte;
        Line->Length += 1;
    }
}

_Use_decl_annotations_
VOID
HpnLineText(
    PHPN_LINE Line,
    PCSTR Text
    )
{
    for (; *Text != '\0'; Text += 1) {
        HpnLineByte(Line, *Text);
    }
}

_Use_decl_annotations_
VOID
HpnLineDecimal(
    PHPN_LINE Line,
    ULONG64 Value
    )
{
    CHAR digits[20];
    ULONG count = 0;

    do {
        digits[count] = HpnDigits[Value % 10];
        count += 1;
        Value /= 10;
    } while (Value != 0);

    while (count != 0) {
        count -= 1;
        HpnLineByte(Line, digits[count]);
    }
}

/* At least Digits digits; 0 means as many as the value needs. */
_Use_decl_annotations_
VOID
HpnLineHexadecimal(
    PHPN_LINE Line,
    ULONG64 Value,
    ULONG Digits
    )
{
    ULONG count = 1;

    while (count < 16 && (Value >> (4 * count)) != 0) {
        count += 1;
    }

    if (count < Digits) {
        count = Digits;
    }

    while (count != 0) {
        count -= 1;
        HpnLineByte(Line, HpnDigits[(Value >> (4 * count)) & 0xF]);
    }
}

/*
 * One byte of a string, as itself or as %XX. Bytes past Limit are omitted; Crc covers all of them, so that two long
 * strings that differ only at the end can be distinguished.
 */
typedef struct _HPN_ENCODER {
    PHPN_LINE Line;
    ULONG End;
    ULONG Crc;
    BOOLEAN Cut;
} HPN_ENCODER, *PHPN_ENCODER;

/* Room for the mark of a cut string: '~' and the checksum. */
#define HPN_CUT_BYTES 9

static
VOID
HpnEncoderBegin(
    _Out_ PHPN_ENCODER Encoder,
    _In_ PHPN_LINE Line,
    _In_ ULONG Limit
    )
{
    ULONG room = Line->Capacity - Line->Length;

    if (Limit > room) {
        Limit = room;
    }

    Encoder->Line = Line;
    Encoder->End = Line->Length + (Limit > HPN_CUT_BYTES ? Limit - HPN_CUT_BYTES : 0);
    Encoder->Crc = 0;
    Encoder->Cut = FALSE;
}

static
VOID
HpnEncodeByte(
    _Inout_ PHPN_ENCODER Encoder,
    _In_ UCHAR Byte
    )
{
    BOOLEAN plain = Byte > ' ' && Byte <= '~' && Byte != '%' && Byte != '=';

    Encoder->Crc = HpnCrc32(Encoder->Crc, &Byte, 1);
    if (Encoder->Cut || Encoder->Line->Length + (plain ? 1 : 3) > Encoder->End) {
        Encoder->Cut = TRUE;
        return;
    }

    if (plain) {
        HpnLineByte(Encoder->Line, (CHAR)Byte);
    } else {
        HpnLineByte(Encoder->Line, '%');
        HpnLineHexadecimal(Encoder->Line, Byte, 2);
    }
}

static
VOID
HpnEncoderEnd(
    _Inout_ PHPN_ENCODER Encoder
    )
{
    if (Encoder->Cut) {
        HpnLineByte(Encoder->Line, '~');
        HpnLineHexadecimal(Encoder->Line, Encoder->Crc, 8);
    }
}

_Use_decl_annotations_
VOID
HpnLineEncoded(
    PHPN_LINE Line,
    PCSTR Text,
    ULONG Limit
    )
{
    HPN_ENCODER encoder;

    HpnEncoderBegin(&encoder, Line, Limit);
    for (; *Text != '\0'; Text += 1) {
        HpnEncodeByte(&encoder, (UCHAR)*Text);
    }
    HpnEncoderEnd(&encoder);
}

/* UTF-16 to UTF-8; half a surrogate pair becomes U+FFFD. */
_Use_decl_annotations_
VOID
HpnLineWide(
    PHPN_LINE Line,
    PCUNICODE_STRING Text,
    ULONG Limit
    )
{
    HPN_ENCODER encoder;
    ULONG count = 0;
    ULONG index = 0;
    ULONG point;

    if (Text != NULL && Text->Buffer != NULL) {
        count = Text->Length / sizeof(WCHAR);
    }

    HpnEncoderBegin(&encoder, Line, Limit);
    while (index < count) {
        point = Text->Buffer[index];
        index += 1;
        if (point >= 0xD800 && point <= 0xDFFF) {
            if (point < 0xDC00 && index < count && Text->Buffer[index] >= 0xDC00 && Text->Buffer[index] <= 0xDFFF) {
                point = 0x10000 + ((point - 0xD800) << 10) + (Text->Buffer[index] - 0xDC00);
                index += 1;
            } else {
                point = 0xFFFD;
            }
        }

        if (point < 0x80) {
            HpnEncodeByte(&encoder, (UCHAR)point);
        } else if (point < 0x800) {
            HpnEncodeByte(&encoder, (UCHAR)(0xC0 | (point >> 6)));
            HpnEncodeByte(&encoder, (UCHAR)(0x80 | (point & 0x3F)));
        } else if (point < 0x10000) {
            HpnEncodeByte(&encoder, (UCHAR)(0xE0 | (point >> 12)));
            HpnEncodeByte(&encoder, (UCHAR)(0x80 | ((point >> 6) & 0x3F)));
            HpnEncodeByte(&encoder, (UCHAR)(0x80 | (point & 0x3F)));
        } else {
            HpnEncodeByte(&encoder, (UCHAR)(0xF0 | (point >> 18)));
            HpnEncodeByte(&encoder, (UCHAR)(0x80 | ((point >> 12) & 0x3F)));
            HpnEncodeByte(&encoder, (UCHAR)(0x80 | ((point >> 6) & 0x3F)));
            HpnEncodeByte(&encoder, (UCHAR)(0x80 | (point & 0x3F)));
        }
    }
    HpnEncoderEnd(&encoder);
}

/* CRC-32 as in IEEE 802.3, four bits at a time. Begin with 0; pass the result on to continue. */
_Use_decl_annotations_
ULONG
HpnCrc32(
    ULONG Crc,
    const VOID *Bytes,
    ULONG Length
    )
{
    static const ULONG table[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    const UCHAR *byte = Bytes;

    Crc = ~Crc;
    for (; Length != 0; Length -= 1, byte += 1) {
        Crc = table[(Crc ^ *byte) & 0xF] ^ (Crc >> 4);
        Crc = table[(Crc ^ (*byte >> 4)) & 0xF] ^ (Crc >> 4);
    }

    return ~Crc;
}
