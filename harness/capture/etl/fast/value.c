/* SPDX-License-Identifier: MIT */
/* Values of a payload, read as layout.Layout reads them and shown as display.show does. Anything unusual is left to those. */
#include <string.h>
#include "fast.h"

/* In the order of program.py's constants. */
enum { OP_NUMBER, OP_NULL, OP_BOOLEAN, OP_GUID, OP_POINTER, OP_SYSTEMTIME, OP_SID, OP_WBEM_SID, OP_REST_UTF16,
       OP_REST_ANSI, OP_ZERO_UTF16, OP_ZERO_ANSI, OP_SIZED_UTF16, OP_SIZED_ANSI, OP_SIZED_BYTES, OP_SIZED_IP6 };
enum { AMOUNT_NONE, AMOUNT_FIXED, AMOUNT_NAMED, AMOUNT_COUNTED, AMOUNT_REST };
enum { AS_NUMBER, AS_BOOL, AS_CHAR8, AS_CHAR16, AS_IP4, AS_PORT };
enum { SHOW_PLAIN, SHOW_HEX, SHOW_STATUS, SHOW_TIME, SHOW_LABEL, SHOW_BITS };
enum { FLAG_SIGNED = 1, FLAG_TO_ZERO = 2 };

#define EPOCH 11644473600
#define LAST_SECOND 253402300800

struct reading {
	const uint8_t *data;
	uint32_t at, end;
	int pointer;
	const struct value *values;
};

static uint64_t number_at(const uint8_t *at, int width)
{
	switch (width) {
	case 1:
		return at[0];
	case 2:
		return u16(at);
	case 4:
		return u32(at);
	default:
		return u64(at);
	}
}

static void set_number(struct value *value, const uint8_t *at, int width, int is_signed)
{
	uint64_t number = number_at(at, width);

	if (is_signed && width < 8 && number >> (8 * width - 1))
		number |= ~(uint64_t)0 << (8 * width);
	value->kind = is_signed ? VALUE_SIGNED : VALUE_UNSIGNED;
	value->number = number;
}

/* Find a count or length; 0 when the payload does not hold one. */
static int amount(struct reading *reading, int kind, int64_t written, uint64_t *found)
{
	const struct value *named;

	switch (kind) {
	case AMOUNT_FIXED:
		*found = (uint64_t)written;
		return written >= 0;
	case AMOUNT_NAMED:
		named = &reading->values[written];
		if (named->kind != VALUE_UNSIGNED && named->kind != VALUE_SIGNED && named->kind != VALUE_BOOL)
			return 0;
		*found = named->number;
		return named->kind != VALUE_SIGNED || (int64_t)named->number >= 0;
	default:
		if (reading->at + 2 > reading->end)
			return 0;
		*found = u16(reading->data + reading->at);
		reading->at += 2;
		return 1;
	}
}

static int take(struct reading *reading, uint32_t size)
{
	if (size > reading->end - reading->at)
		return 0;
	reading->at += size;
	return 1;
}

static int read_sid(struct reading *reading, uint32_t at, struct value *value)
{
	if (at + 8 > reading->end || at + 8 + 4 * (uint32_t)reading->data[at + 1] > reading->end)
		return 0;
	value->kind = VALUE_SID;
	value->bytes = reading->data + at;
	reading->at = at + 8 + 4 * (uint32_t)reading->data[at + 1];
	return 1;
}

static int read_wbem_sid(struct reading *reading, struct value *value)
{
	const uint8_t *data = reading->data;
	uint32_t at = reading->at, behind = at + 2 * (uint32_t)reading->pointer, one;
	int follows, set = 0;

	if (at + 4 > reading->end)
		return 0;
	if (!u32(data + at)) {
		follows = behind + 8 <= reading->end && data[behind] == 1 && data[behind + 1] >= 1 && data[behind + 1] <= 15;
		for (one = at; one < behind && one < reading->end; one++)
			set |= data[one];
		if (!follows || set) {
			value->kind = VALUE_NONE;
			reading->at = at + 4;
			return 1;
		}
	}
	return read_sid(reading, behind, value);
}

static int read_sized(struct reading *reading, const struct field *field, struct value *value)
{
	uint64_t size, one;

	if (!amount(reading, field->length_kind, field->length, &size))
		return 0;
	if (size > reading->end - reading->at || (field->op == OP_SIZED_UTF16 && field->length_kind != AMOUNT_NONE &&
	    field->width == 2 && 2 * size > reading->end - reading->at))
		return 0;
	value->bytes = reading->data + reading->at;
	reading->at += (uint32_t)(field->width == 2 ? 2 * size : size);
	value->size = (uint32_t)size;
	value->kind = field->op == OP_SIZED_ANSI ? VALUE_ANSI : VALUE_BYTES;
	if (field->op == OP_SIZED_IP6 && size == 16)
		value->kind = VALUE_IP6;
	if (field->op == OP_SIZED_UTF16) {
		value->kind = VALUE_UTF16;
		if (field->width != 2) {
			/* An odd byte at the end would be shown as a sign of its own. */
			if (size & 1)
				value->width = 1;
			value->size = (uint32_t)(size / 2);
		}
	}
	if (field->flags & FLAG_TO_ZERO)
		for (one = 0; one < value->size; one++)
			if (value->kind == VALUE_UTF16 ? !u16(value->bytes + 2 * one) : !value->bytes[one]) {
				value->size = (uint32_t)one;
				value->width = 0;
				break;
			}
	return 1;
}

static int read_text(struct reading *reading, const struct field *field, struct value *value)
{
	uint32_t at = reading->at, size = reading->end - at, one;
	const uint8_t *text = reading->data + at, *zero;

	value->bytes = text;
	if (field->op == OP_REST_ANSI || field->op == OP_ZERO_ANSI) {
		zero = field->op == OP_ZERO_ANSI && size ? memchr(text, 0, size) : 0;
		value->kind = VALUE_ANSI;
		value->size = zero ? (uint32_t)(zero - text) : size;
		reading->at = at + value->size + (zero ? 1 : 0);
		return 1;
	}
	value->kind = VALUE_UTF16;
	for (one = 0; one + 2 <= size; one += 2)
		if (field->op == OP_ZERO_UTF16 && !u16(text + one)) {
			value->size = one / 2;
			reading->at = at + one + 2;
			return 1;
		}
	value->size = size / 2;
	value->width = size & 1;
	reading->at = reading->end;
	return 1;
}

static int read_array(struct reading *reading, const struct field *field, struct value *value)
{
	uint32_t width = (uint32_t)(field->op == OP_POINTER ? reading->pointer : field->width);
	uint64_t count;

	if (field->count_kind == AMOUNT_REST) {
		count = (reading->end - reading->at) / width;
		if (count * width != reading->end - reading->at)
			return 0;
	} else {
		/* Each value takes a byte at least, so there are no more of them than Layout allows. */
		if (!amount(reading, field->count_kind, field->count, &count) || count > (reading->end - reading->at) / width)
			return 0;
	}
	value->kind = VALUE_ARRAY;
	value->bytes = reading->data + reading->at;
	value->size = (uint32_t)count;
	value->width = (int)width;
	value->is_signed = field->op == OP_NUMBER && field->flags & FLAG_SIGNED;
	reading->at += (uint32_t)count * width;
	return 1;
}

static int read_number(struct reading *reading, const struct field *field, struct value *value)
{
	const uint8_t *at = reading->data + reading->at;

	if (!take(reading, (uint32_t)field->width))
		return 0;
	value->bytes = at;
	value->size = 1;
	switch (field->converted) {
	case AS_BOOL:
		value->kind = VALUE_BOOL;
		value->number = number_at(at, field->width) != 0;
		break;
	case AS_CHAR8:
		value->kind = VALUE_ANSI;
		break;
	case AS_CHAR16:
		value->kind = VALUE_UTF16;
		break;
	case AS_IP4:
		value->kind = VALUE_IP4;
		break;
	case AS_PORT:
		value->kind = VALUE_UNSIGNED;
		value->number = (uint64_t)at[0] << 8 | at[1];
		break;
	default:
		set_number(value, at, field->width, field->flags & FLAG_SIGNED);
	}
	return 1;
}

static int read_one(struct reading *reading, const struct field *field, struct value *value)
{
	const uint8_t *at = reading->data + reading->at;

	memset(value, 0, sizeof *value);
	if (field->count_kind != AMOUNT_NONE)
		return read_array(reading, field, value);
	switch (field->op) {
	case OP_NUMBER:
		return read_number(reading, field, value);
	case OP_NULL:
		return 1;
	case OP_BOOLEAN:
		if (!take(reading, 4))
			return 0;
		value->kind = VALUE_BOOL;
		value->number = u32(at) != 0;
		return 1;
	case OP_GUID:
		value->kind = VALUE_GUID;
		value->bytes = at;
		return take(reading, 16);
	case OP_POINTER:
		if (!take(reading, (uint32_t)reading->pointer))
			return 0;
		set_number(value, at, reading->pointer, 0);
		return 1;
	case OP_SYSTEMTIME:
		value->kind = VALUE_SYSTEMTIME;
		value->bytes = at;
		return take(reading, 16);
	case OP_SID:
		return read_sid(reading, reading->at, value);
	case OP_WBEM_SID:
		return read_wbem_sid(reading, value);
	case OP_REST_UTF16:
	case OP_REST_ANSI:
	case OP_ZERO_UTF16:
	case OP_ZERO_ANSI:
		return read_text(reading, field, value);
	default:
		return read_sized(reading, field, value);
	}
}

/* Read a payload; returns how many values it has, and how many bytes follow them; -1 when it ends within a value. */
int read_fields(const struct program *program, const uint8_t *data, uint32_t size, struct value *values, uint32_t *rest)
{
	struct reading reading = {data, 0, size, program->pointer, values};
	int one;

	*rest = 0;
	for (one = 0; one < program->fields; one++) {
		uint32_t before = reading.at;
		if (!read_one(&reading, &program->field[one], &values[one]))
			return before == size && one >= program->needed ? one : -1;
	}
	*rest = size - reading.at;
	return one;
}

static int add_ansi(struct text *out, const uint8_t *bytes, uint32_t size)
{
	uint32_t one;

	for (one = 0; one < size; one++)
		if (bytes[one] < 0x20 || bytes[one] > 0x7E)
			return 0;
	add(out, bytes, size);
	return 1;
}

static int add_utf16(struct text *out, const uint8_t *bytes, uint32_t size)
{
	uint8_t part[256];
	uint32_t one, made = 0;

	for (one = 0; one < size; one++) {
		if (bytes[2 * one + 1] || bytes[2 * one] < 0x20 || bytes[2 * one] > 0x7E)
			return 0;
		part[made++] = bytes[2 * one];
		if (made == sizeof part) {
			add(out, part, made);
			made = 0;
		}
	}
	add(out, part, made);
	return 1;
}

static int add_ip6(struct text *out, const uint8_t *bytes)
{
	int one, begin = -1, most = 1, run;

	/* An address that holds one of IPv4 is written in different ways by different versions of Python. */
	for (one = 0; one < 5 && !u16(bytes + 2 * one); one++)
		;
	if (one == 5 && u16(bytes + 10) == 0xFFFF)
		return 0;
	for (one = 0; one < 8; one += run + 1) {
		for (run = 0; one + run < 8 && !u16(bytes + 2 * (one + run)); run++)
			;
		if (run > most) {
			most = run;
			begin = one;
		}
	}
	for (one = 0; one < 8; one++) {
		unsigned group = (unsigned)(bytes[2 * one] << 8 | bytes[2 * one + 1]), shift = 12;
		if (one == begin) {
			add(out, "::", 2);
			one += most - 1;
			continue;
		}
		if (one && one != begin + most)
			add_byte(out, ':');
		else if (one && begin < 0)
			add_byte(out, ':');
		while (shift && !(group >> shift))
			shift -= 4;
		for (;; shift -= 4) {
			add_byte(out, (uint8_t)"0123456789abcdef"[group >> shift & 15]);
			if (!shift)
				break;
		}
	}
	return 1;
}

static void add_sid(struct text *out, const uint8_t *bytes)
{
	uint64_t authority = 0;
	int one;

	for (one = 2; one < 8; one++)
		authority = authority << 8 | bytes[one];
	add(out, "S-", 2);
	add_decimal(out, bytes[0]);
	add_byte(out, '-');
	add_decimal(out, authority);
	for (one = 0; one < bytes[1]; one++) {
		add_byte(out, '-');
		add_decimal(out, u32(bytes + 8 + 4 * one));
	}
}

static void add_systemtime(struct text *out, const uint8_t *bytes)
{
	static const struct { int at, width; const char *after; } parts[] = {
		{0, 4, "-"}, {2, 2, "-"}, {6, 2, "T"}, {8, 2, ":"}, {10, 2, ":"}, {12, 2, "."}, {14, 3, "Z"}};
	int one;

	for (one = 0; one < 7; one++) {
		add_padded(out, u16(bytes + parts[one].at), parts[one].width);
		add_byte(out, (uint8_t)parts[one].after[0]);
	}
}

/* A FILETIME as clock.iso writes it; 0 before 1601 and after 9999. */
static int add_time(struct text *out, uint64_t filetime)
{
	int64_t seconds = (int64_t)(filetime / 10000000) - EPOCH, days, era, day, year, month;
	uint64_t rest;

	if (filetime >> 63 || seconds >= LAST_SECOND)
		return 0;
	days = (seconds + EPOCH) / 86400 - EPOCH / 86400;
	rest = (uint64_t)(seconds - days * 86400);
	/* Days since 0000-03-01 in eras of 400 years (Howard Hinnant, chrono-compatible low-level date algorithms). */
	days += 719468;
	era = days / 146097;
	day = days - era * 146097;
	year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= 365 * year + year / 4 - year / 100;
	month = (5 * day + 2) / 153;
	day -= (153 * month + 2) / 5;
	month += month < 10 ? 3 : -9;
	year += era * 400 + (month <= 2);
	add_padded(out, (uint64_t)year, 4);
	add_byte(out, '-');
	add_padded(out, (uint64_t)month, 2);
	add_byte(out, '-');
	add_padded(out, (uint64_t)day + 1, 2);
	add_byte(out, 'T');
	add_padded(out, rest / 3600, 2);
	add_byte(out, ':');
	add_padded(out, rest / 60 % 60, 2);
	add_byte(out, ':');
	add_padded(out, rest % 60, 2);
	add_byte(out, '.');
	add_padded(out, filetime % 10000000, 7);
	add_byte(out, 'Z');
	return 1;
}

static int add_number(struct text *out, const struct program *program, const struct piece *piece, uint64_t number,
                      int is_signed)
{
	int negative = is_signed && (int64_t)number < 0, one;
	uint64_t size = negative ? 0 - number : number, rest;

	switch (piece->show) {
	case SHOW_TIME:
		return !negative && add_time(out, number);
	case SHOW_STATUS: {
		char digits[8];
		for (one = 0; one < 8; one++)
			digits[one] = "0123456789ABCDEF"[number >> (28 - 4 * one) & 15];
		add(out, "0x", 2);
		add(out, digits, 8);
		return 1;
	}
	case SHOW_HEX:
		if (negative)
			add_byte(out, '-');
		add_hex(out, size);
		return 1;
	case SHOW_LABEL:
		for (one = 0; one < piece->labels && !negative; one++) {
			const struct label *label = &program->label[piece->label + one];
			if (label->value == number) {
				add(out, label->literal, label->size);
				return 1;
			}
		}
		break;
	case SHOW_BITS: {
		int names = 0;
		if (negative)
			return 0;
		rest = number;
		for (one = 0; one < piece->labels; one++) {
			const struct label *label = &program->label[piece->label + one];
			rest &= ~label->value;
			if (!label->value || (number & label->value) != label->value)
				continue;
			if (names++)
				add_byte(out, '|');
			add(out, label->literal, label->size);
		}
		if (rest) {
			if (names++)
				add_byte(out, '|');
			add_hex(out, rest);
		}
		if (!names)
			add_byte(out, '0');
		return 1;
	}
	default:
		break;
	}
	if (negative)
		add_byte(out, '-');
	add_decimal(out, size);
	return 1;
}

/* Add one value as text of printable ASCII; 0 for one that is not. */
int add_value(struct text *out, const struct program *program, const struct piece *piece, const struct value *value)
{
	uint32_t one;

	switch (value->kind) {
	case VALUE_NONE:
		return 1;
	case VALUE_UNSIGNED:
	case VALUE_SIGNED:
		return add_number(out, program, piece, value->number, value->kind == VALUE_SIGNED);
	case VALUE_BOOL:
		if (value->number)
			add(out, "true", 4);
		else
			add(out, "false", 5);
		return 1;
	case VALUE_ANSI:
		return add_ansi(out, value->bytes, value->size);
	case VALUE_UTF16:
		return !value->width && add_utf16(out, value->bytes, value->size);
	case VALUE_GUID:
		add_guid(out, value->bytes);
		return 1;
	case VALUE_SID:
		add_sid(out, value->bytes);
		return 1;
	case VALUE_BYTES:
		add_bytes(out, value->bytes, value->size);
		return 1;
	case VALUE_IP4:
		for (one = 0; one < 4; one++) {
			if (one)
				add_byte(out, '.');
			add_decimal(out, value->bytes[one]);
		}
		return 1;
	case VALUE_IP6:
		return add_ip6(out, value->bytes);
	case VALUE_SYSTEMTIME:
		add_systemtime(out, value->bytes);
		return 1;
	default:
		add_byte(out, '[');
		for (one = 0; one < value->size; one++) {
			struct value member = {0};
			set_number(&member, value->bytes + one * (uint32_t)value->width, value->width, value->is_signed);
			if (one)
				add(out, ", ", 2);
			if (!add_number(out, program, piece, member.number, value->is_signed))
				return 0;
		}
		add_byte(out, ']');
		return 1;
	}
}
