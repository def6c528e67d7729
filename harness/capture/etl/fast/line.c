/* SPDX-License-Identifier: MIT */
/* A record as one line of text, as cli.etl_lines.line writes it. What it cannot write exactly so is left to that. */
#include <string.h>
#include "fast.h"

#define NOBODY 0xFFFFFFFF
#define MOST_VALUE 1000
#define RAW_SHOWN 64

static const uint8_t cut_sign[] = "\xe2\x80\xa6"; /* an ellipsis */

/* The quotient rounded down, as Python's. */
static wide divided(wide number, int64_t by, uint64_t *rest)
{
	wide quotient = number / by, left = number % by;

	if (left < 0) {
		left += by;
		quotient--;
	}
	*rest = (uint64_t)left;
	return quotient;
}

static void add_right(struct text *out, const uint8_t *bytes, size_t size, size_t width)
{
	for (; width > size; width--)
		add_byte(out, ' ');
	add(out, bytes, size);
}

static void add_number_right(struct text *out, uint64_t number, int negative, size_t width, const char *after)
{
	uint8_t digits[32];
	struct text made = {digits, 0, sizeof digits, 0};

	if (negative)
		add_byte(&made, '-');
	add_decimal(&made, number);
	add_right(out, digits, made.used, width);
	add(out, after, strlen(after));
}

static void add_left(struct text *out, uint64_t number, size_t width)
{
	size_t before = out->used;

	add_decimal(out, number);
	while (out->used - before < width)
		add_byte(out, ' ');
}

/* When the record came: seconds after the start, and the date. WANTS_SECOND when a second is not known yet. */
static int add_when(struct reader *reader, int64_t time)
{
	struct text *out = &reader->text;
	uint8_t digits[48];
	struct text made = {digits, 0, sizeof digits, 0};
	wide passed = (wide)time - reader->start, nanoseconds, filetime, seconds;
	uint64_t rest;
	struct second *second;

	if (!reader->hz) {
		add_number_right(out, time < 0 ? 0 - (uint64_t)time : (uint64_t)time, time < 0, 16, "t");
		return 1;
	}
	filetime = reader->start_filetime + divided(passed * 10000000, reader->hz, &rest);
	seconds = divided(filetime, 10000000, &rest);
	if (seconds != (int64_t)seconds)
		return 0;
	second = &reader->seconds[(uint64_t)seconds % SECONDS];
	if (!second->known || second->number != (int64_t)seconds) {
		reader->second = (int64_t)seconds;
		return -1;
	}
	{
		uint64_t fraction, unused;
		wide whole;
		nanoseconds = divided(passed * 1000000000, reader->hz, &unused);
		if (nanoseconds < 0) {
			add_byte(&made, '-');
			nanoseconds = -nanoseconds;
		}
		whole = divided(nanoseconds, 1000000000, &fraction);
		add_decimal(&made, (uint64_t)whole);
		add_byte(&made, '.');
		add_padded(&made, fraction, 9);
		add_right(out, digits, made.used, 17);
	}
	if (second->size) {
		add(out, "  ", 2);
		add(out, second->written, second->size);
		add_byte(out, '.');
		add_padded(out, rest, 7);
		add(out, second->zone, second->zone_size);
	}
	return 1;
}

static void add_who(struct text *out, const uint8_t *record, int kind)
{
	uint32_t process = NOBODY, thread = NOBODY;

	/* Thread, then process, in all headers that have them: at 8 and 12. */
	if (kind == KIND_EVENT || kind == KIND_SYSTEM || kind == KIND_COMPACT || kind == KIND_CLASSIC || kind == KIND_INSTANCE) {
		thread = u32(record + 8);
		process = u32(record + 12);
	}
	if (process == NOBODY) {
		add(out, "             ", 13);
		return;
	}
	add_number_right(out, process, 0, 6, ":");
	add_left(out, thread, 6);
}

static int add_values(struct text *out, const struct program *program, const struct value *values, int count)
{
	int one;

	for (one = 0; one < count; one++) {
		const struct piece *piece = &program->piece[one];
		size_t before, size;
		add(out, "  ", 2);
		add(out, piece->literal, piece->size);
		before = out->used;
		if (!add_value(out, program, piece, &values[piece->slot]))
			return 0;
		size = out->used - before;
		if (size > MOST_VALUE) {
			out->used = before + MOST_VALUE;
			add(out, cut_sign, 3);
			add(out, "(+", 2);
			add_decimal(out, size - MOST_VALUE);
			add_byte(out, ')');
		}
	}
	return 1;
}

static int add_message(struct text *out, const struct program *program, const struct value *values)
{
	size_t length = 0;
	int one;

	add(out, "  ", 2);
	for (one = program->pieces - program->message; one < program->pieces; one++) {
		const struct piece *piece = &program->piece[one];
		size_t before = out->used;
		if (piece->slot < 0) {
			add(out, piece->literal, piece->size);
			length += piece->raw;
			continue;
		}
		if (!add_value(out, program, piece, &values[piece->slot]))
			return 0;
		length += out->used - before;
	}
	return length > 0 && length <= MOST_VALUE;
}

static void find_payload(const uint8_t *record, uint32_t size, int kind, uint32_t *first)
{
	struct items items;
	uint32_t version;

	switch (kind) {
	case KIND_EVENT:
		find_items(record, size, &items);
		*first = items.first;
		return;
	case KIND_CLASSIC:
		*first = 48;
		return;
	case KIND_INSTANCE:
		*first = 72;
		return;
	default:
		version = u16(record);
		*first = (kind == KIND_SYSTEM ? 32 : kind == KIND_COMPACT ? 24 : 16) + 8 * ((version & 0x0700) >> 8) +
		         (version & 0x8000 ? 8 : 0);
		if (*first > size)
			*first = size;
	}
}

/* Add the line; 0 when Python must write it, -1 when a second is asked for. The text is as it was then. */
int add_line(struct reader *reader, const struct entry *entry, const struct program *program)
{
	struct text *out = &reader->text;
	const uint8_t *record = entry->buffer->data + entry->at;
	size_t before = out->used;
	struct value values[MOST_FIELDS];
	uint32_t first, size, rest = 0;
	int count = 0, done;

	find_payload(record, entry->size, entry->kind, &first);
	size = entry->size - first;
	if (program->shape != SHAPE_RAW) {
		count = read_fields(program, record + first, size, values, &rest);
		if (count < 0 || (rest && program->exact))
			return 0;
	}
	done = add_when(reader, entry->time);
	if (done <= 0) {
		out->used = before;
		return done;
	}
	add(out, "  cpu", 5);
	add_left(out, (uint64_t)entry->buffer->processor, 3);
	add(out, "  ", 2);
	add_who(out, record, entry->kind);
	add(out, "  ", 2);
	add(out, program->head, program->head_size);
	if (program->shape == SHAPE_RAW) {
		add(out, "  ", 2);
		add_decimal(out, size);
		add(out, " bytes ", 7);
		add_bytes(out, record + first, size < RAW_SHOWN ? size : RAW_SHOWN);
		if (size > RAW_SHOWN)
			add(out, cut_sign, 3);
	} else if (program->shape == SHAPE_MESSAGE && !rest ? !add_message(out, program, values)
	                                                   : !add_values(out, program, values, count)) {
		out->used = before;
		return 0;
	}
	if (rest) {
		add(out, "  (", 3);
		add_decimal(out, rest);
		add(out, " bytes follow the last field)", 29);
	}
	if (entry->kind == KIND_EVENT && !add_context(out, record, entry->size)) {
		out->used = before;
		return 0;
	}
	add_byte(out, '\n');
	return 1;
}
