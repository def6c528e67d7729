/* SPDX-License-Identifier: MIT */
/* The extended items of an EVENT_HEADER, as record.EventRecord finds them, and what they say, as context.of does. */
#include <string.h>
#include "fast.h"

enum { EXTENDED_INFO = 1, SCHEMA = 11, TRAITS = 12 };
enum { RELATED = 1, USER, SESSION, INSTANCE, STACK32, STACK64, START_KEY = 13, CONTAINER = 16, STACK_KEY32, STACK_KEY64 };
enum { MOST_FRAMES = 64 };

struct item {
	uint32_t at, size;
	int kind;
};

/* Step to the next item; 0 after the last one. *end is where the payload begins then. */
static int next_item(const uint8_t *record, uint32_t size, uint32_t *at, int *more, struct item *item)
{
	uint32_t whole, data;

	if (!*more)
		return 0;
	if (*at + 8 > size) {
		*more = 0;
		return 0;
	}
	whole = u16(record + *at);
	data = u16(record + *at + 6);
	item->kind = u16(record + *at + 2);
	*more = u16(record + *at + 4) & 1;
	item->at = *at + 8;
	item->size = data;
	if (*at + 8 + data > size) {
		*at = size;
		*more = 0;
		return 0;
	}
	*at += whole >= 8 + data ? whole : (8 + data + 7) & ~(uint32_t)7;
	return 1;
}

/* Find description, traits and payload of an event. */
void find_items(const uint8_t *record, uint32_t size, struct items *found)
{
	uint32_t at = 80;
	int more = u16(record + 4) & EXTENDED_INFO;
	struct item item;

	memset(found, 0, sizeof *found);
	while (next_item(record, size, &at, &more, &item)) {
		if (item.kind == SCHEMA && !found->schema) {
			found->schema = record + item.at;
			found->schema_size = item.size;
		} else if (item.kind == TRAITS && !found->traits) {
			found->traits = record + item.at;
			found->traits_size = item.size;
		}
	}
	found->first = at < size ? at : size;
	found->end = size;
}

static void begin(struct text *out, int *parts)
{
	if ((*parts)++)
		add(out, "; ", 2);
	else
		add(out, "  [", 3);
}

/* Add what stands around an event, in brackets; 0 when it says something that only context.of reads. */
int add_context(struct text *out, const uint8_t *record, uint32_t size)
{
	static const uint8_t nil[16];
	uint32_t at = 80;
	int more = u16(record + 4) & EXTENDED_INFO, parts = 0, found = 0;
	struct item item, related = {0, 0, 0}, session = {0, 0, 0}, start = {0, 0, 0}, stack = {0, 0, 0};

	while (next_item(record, size, &at, &more, &item)) {
		struct item *kept = 0;
		switch (item.kind) {
		case RELATED:
			kept = item.size >= 16 ? &related : 0;
			break;
		case SESSION:
			kept = item.size >= 4 ? &session : 0;
			break;
		case START_KEY:
			kept = item.size >= 8 ? &start : 0;
			break;
		case STACK32:
		case STACK64:
			kept = item.size >= 8 ? &stack : 0;
			break;
		case USER:
		case INSTANCE:
		case CONTAINER:
		case STACK_KEY32:
		case STACK_KEY64:
			return 0;
		default:
			break;
		}
		if (kept) {
			if (kept->at)
				return 0;
			*kept = item;
			found = 1;
		}
	}
	if (memcmp(record + 64, nil, 16)) {
		begin(out, &parts);
		add(out, "activity ", 9);
		add_guid(out, record + 64);
	}
	if (related.at) {
		begin(out, &parts);
		add(out, "related ", 8);
		add_guid(out, record + related.at);
	}
	if (session.at) {
		begin(out, &parts);
		add(out, "session ", 8);
		add_decimal(out, u32(record + session.at));
	}
	if (start.at) {
		begin(out, &parts);
		add(out, "process start key ", 18);
		add_decimal(out, u64(record + start.at));
	}
	if (stack.at) {
		uint32_t width = stack.kind == STACK32 ? 4 : 8, count = (stack.size - 8) / width, one;
		if (count) {
			begin(out, &parts);
			add(out, "stack", 5);
			for (one = 0; one < count && one < MOST_FRAMES; one++) {
				const uint8_t *frame = record + stack.at + 8 + one * width;
				add_byte(out, ' ');
				add_hex(out, width == 4 ? u32(frame) : u64(frame));
			}
			if (count > MOST_FRAMES) {
				add(out, " \xe2\x80\xa6(+", 6);
				add_decimal(out, count - MOST_FRAMES);
				add_byte(out, ')');
			}
		}
	}
	if (found && !parts)
		begin(out, &parts);
	if (parts)
		add_byte(out, ']');
	return 1;
}
