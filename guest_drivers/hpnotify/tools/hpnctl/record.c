/* SPDX-License-Identifier: MIT */
/*
 * A line of the ring as a JSON object. The driver's own table (src/records.h) gives the keys of a kind and their
 * format; a line that does not match it is not the driver's.
 */
#include "hpnctl.h"

#include <winternl.h>

typedef const UNICODE_STRING *PCUNICODE_STRING;

#include "records.h"

enum format { Decimal, Signed, Hexadecimal, Nonce, Text, WideText };

struct field {
    const char *key;
    enum format format;
};

#define FIELD(Type, Member, Wire, Format) { #Wire, Format },

static const struct field head[] = { HPN_RECORD_HEAD(FIELD, ) HPN_RECORD_SAMPLE(FIELD, ) { NULL, Text } };

#define FIELDS(Kind, Tag, Fields) static const struct field Kind##Fields[] = { Fields(FIELD, ) { NULL, Text } };

HPN_RECORDS(FIELDS)

#define KIND(Kind, Tag, Fields) { Tag, Kind##Fields },

static const struct {
    const char *tag;
    const struct field *fields;
} kinds[] = { HPN_RECORDS(KIND) };

static int
same(const char *text, unsigned length, const char *expected)
{
    unsigned at = 0;

    while (at < length && expected[at] != 0 && text[at] == expected[at])
        at++;
    return at == length && expected[at] == 0;
}

static const struct field *
find(const struct field *fields, const char *key, unsigned length)
{
    for (; fields->key != NULL; fields++) {
        if (same(key, length, fields->key))
            return fields;
    }
    return NULL;
}

static int
digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 32;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* JSON has no hexadecimal numbers. */
static int
add_number(struct text *text, const char *value, unsigned length)
{
    ULONG64 sum = 0;
    ULONG64 base = 10;
    unsigned at = 0;

    if (length > 1 && value[0] == '-') {
        add_text(text, "-");
        at = 1;
    } else if (length > 2 && value[0] == '0' && value[1] == 'x') {
        base = 16;
        at = 2;
    }
    if (at == length)
        return 0;
    for (; at < length; at++) {
        int one = digit(value[at]);

        if (one < 0 || (ULONG64)one >= base || sum > (~0ULL - (ULONG64)one) / base)
            return 0;
        sum = sum * base + (ULONG64)one;
    }
    add_decimal(text, sum);
    return 1;
}

/* %XX becomes its byte; the driver made them of UTF-8. */
static void
add_string(struct text *text, const char *value, unsigned length)
{
    char bytes[HPN_LINE_BYTES];
    unsigned count = 0;

    for (unsigned at = 0; at < length && count < sizeof(bytes); at++) {
        if (value[at] == '%' && at + 2 < length && digit(value[at + 1]) >= 0 && digit(value[at + 2]) >= 0) {
            bytes[count++] = (char)(digit(value[at + 1]) * 16 + digit(value[at + 2]));
            at += 2;
        } else {
            bytes[count++] = value[at];
        }
    }
    add_text(text, "\"");
    add_json(text, bytes, count);
    add_text(text, "\"");
}

static ULONG
crc32(const char *bytes, unsigned length)
{
    ULONG crc = 0xFFFFFFFF;

    while (length-- != 0) {
        crc ^= (unsigned char)*bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320 & (0 - (crc & 1)));
    }
    return ~crc;
}

/* "HPN1 key=value … crc=XXXXXXXX": returns the length before " crc=", or 0 if the sum is wrong or missing. */
static unsigned
body_of(const char *line, unsigned length)
{
    ULONG told = 0;

    if (length < 18 || !same(line, 5, "HPN1 ") || !same(line + length - 13, 5, " crc="))
        return 0;
    for (unsigned at = length - 8; at < length; at++) {
        if (digit(line[at]) < 0)
            return 0;
        told = told << 4 | (ULONG)digit(line[at]);
    }
    return told == crc32(line, length - 13) ? length - 13 : 0;
}

int
record_json(struct text *text, const char *line, unsigned length)
{
    const struct field *own = NULL;
    const struct field *field;
    unsigned begin = text->length;
    unsigned end = body_of(line, length);
    unsigned at;

    for (at = 5; at < end;) {
        unsigned key = at;
        unsigned value;
        unsigned next;

        while (at < end && line[at] != '=')
            at++;
        value = at + 1;
        for (next = value; next < end && line[next] != ' '; next++) {
        }
        if (value > end)
            break;
        if (same(line + key, at - key, "ev")) {
            for (unsigned kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
                if (same(line + value, next - value, kinds[kind].tag))
                    own = kinds[kind].fields;
            }
            if (own == NULL)
                break;
            add_text(text, ",\"k\":\"");
            add_bytes(text, line + value, next - value);
            add_text(text, "\"");
        } else {
            field = find(head, line + key, at - key);
            if (field == NULL && own != NULL)
                field = find(own, line + key, at - key);
            if (field == NULL)
                break;
            add_text(text, text->length == begin ? "{\"channel\":\"ring\",\"" : ",\"");
            add_text(text, field->key);
            add_text(text, "\":");
            if (field->format == Nonce || field->format == Text || field->format == WideText)
                add_string(text, line + value, next - value);
            else if (!add_number(text, line + value, next - value))
                break;
        }
        at = next + 1;
    }
    if (end == 0 || own == NULL || at <= end) {
        text->length = begin;
        return 0;
    }
    add_text(text, "}\n");
    return 1;
}
