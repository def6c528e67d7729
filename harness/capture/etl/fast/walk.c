/* SPDX-License-Identifier: MIT */
/* The walk over the records of a buffer, as buffer.decode walks. Sizes and offsets come from a guest: all are checked. */
#include "fast.h"

enum { LEAST_EVENT = 80, LEAST_SYSTEM = 32, LEAST_COMPACT = 24, LEAST_PERF = 16, LEAST_CLASSIC = 48, LEAST_INSTANCE = 72 };

struct form {
	uint16_t kind;
	uint16_t least;
	uint8_t second; /* the size stands in the second word */
	uint8_t time;
};

/* By header type; a type that does not exist has the least size 0. */
static const struct form forms[32] = {
	[SYSTEM32] = {KIND_SYSTEM, LEAST_SYSTEM, 1, 16},       [SYSTEM64] = {KIND_SYSTEM, LEAST_SYSTEM, 1, 16},
	[COMPACT32] = {KIND_COMPACT, LEAST_COMPACT, 1, 16},    [COMPACT64] = {KIND_COMPACT, LEAST_COMPACT, 1, 16},
	[FULL32] = {KIND_CLASSIC, LEAST_CLASSIC, 0, 16},       [FULL64] = {KIND_CLASSIC, LEAST_CLASSIC, 0, 16},
	[INSTANCE32] = {KIND_INSTANCE, LEAST_INSTANCE, 0, 16}, [INSTANCE64] = {KIND_INSTANCE, LEAST_INSTANCE, 0, 16},
	[TIMED] = {KIND_OTHER, 16, 0, 8},                      [ERROR_HEADER] = {KIND_OTHER, 8, 0, 0},
	[WNODE] = {KIND_OTHER, 8, 0, 0},                       [MESSAGE] = {KIND_MESSAGE, 8, 0, 0},
	[PERFINFO32] = {KIND_PERF, LEAST_PERF, 1, 8},          [PERFINFO64] = {KIND_PERF, LEAST_PERF, 1, 8},
	[EVENT32] = {KIND_EVENT, LEAST_EVENT, 0, 16},          [EVENT64] = {KIND_EVENT, LEAST_EVENT, 0, 16},
};

/* Where a message's time stands, 0 when it has none, -1 when its options need more bytes than it has. */
static int message_time(const uint8_t *record, uint32_t size)
{
	uint32_t options = u16(record + 6);
	uint32_t before = (options & 1 ? 4 : 0) + (options & 2 ? 16 : options & 4 ? 4 : 0);
	uint32_t needed = before + (options & 24 ? 8 : 0) + (options & 32 ? 8 : 0);

	if (8 + needed > size)
		return -1;
	return options & 24 ? (int)(8 + before) : 0;
}

/* Find up to CHUNK records from *at on; returns why the walk ended, with the two numbers that say it. */
int walk(const uint8_t *data, uint32_t *at, uint32_t end, int64_t before, struct buffer *buffer, int64_t why[2])
{
	uint32_t place = *at;
	int count = 0;

	while (place + 8 <= end) {
		const uint8_t *record = data + place;
		uint32_t marker = u32(record), upper = marker >> 16, type, size, least;
		const struct form *form = 0;
		struct entry *entry;

		if (count == CHUNK) {
			*at = place;
			buffer->count = count;
			return DAMAGE_NONE;
		}
		if ((upper & 0xF000) == 0x9000)
			type = MESSAGE;
		else if (upper == 0xB000)
			type = TIMED;
		else if ((upper & 0xC000) == 0xC000 && (upper & 0xFF) < 32 && forms[upper & 0xFF].least)
			type = upper & 0xFF;
		else
			type = 0;
		if (type) {
			form = &forms[type];
			least = form->least;
			size = form->second ? u16(record + 4) : marker & 0xFFFF;
		} else {
			if (marker == 0xFFFFFFFF)
				break;
			if (marker & 0x80000000 || !marker) {
				why[0] = marker;
				*at = end;
				buffer->count = count;
				return DAMAGE_MARKER;
			}
			type = WNODE;
			least = 48;
			size = marker;
		}
		if (size < least) {
			why[0] = size;
			why[1] = least;
			*at = end;
			buffer->count = count;
			return DAMAGE_SHORT;
		}
		if (size > end - place) {
			why[0] = size;
			why[1] = end - place;
			*at = end;
			buffer->count = count;
			return DAMAGE_PAST;
		}
		entry = &buffer->entries[count];
		entry->buffer = buffer;
		entry->at = place;
		entry->size = size;
		entry->type = (uint16_t)type;
		entry->kind = form ? form->kind : KIND_OTHER;
		if (form && form->time) {
			entry->time = (int64_t)u64(record + form->time);
		} else if (!form) {
			entry->time = (int64_t)u64(record + 16);
		} else if (type == MESSAGE) {
			int found = message_time(record, size);
			if (found < 0) {
				why[0] = size;
				why[1] = u16(record + 6);
				*at = end;
				buffer->count = count;
				return DAMAGE_MESSAGE;
			}
			entry->time = found ? (int64_t)u64(record + found) : before;
		} else {
			entry->time = before;
		}
		before = entry->time;
		count++;
		place += (size + 7) & ~(uint32_t)7;
	}
	*at = end;
	buffer->count = count;
	return DAMAGE_NONE;
}
