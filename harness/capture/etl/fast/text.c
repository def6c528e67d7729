/* SPDX-License-Identifier: MIT */
/* Text that grows, and numbers as text. */
#include <stdlib.h>
#include <string.h>
#include "fast.h"

static int room_for(struct text *out, size_t size)
{
	size_t wanted = out->used + size, room = out->room ? out->room : 4096;
	uint8_t *found;

	if (wanted <= out->room)
		return 1;
	while (room < wanted)
		room *= 2;
	found = realloc(out->data, room);
	if (!found) {
		out->failed = 1;
		return 0;
	}
	out->data = found;
	out->room = room;
	return 1;
}

void add(struct text *out, const void *bytes, size_t size)
{
	if (size && room_for(out, size)) {
		memcpy(out->data + out->used, bytes, size);
		out->used += size;
	}
}

void add_byte(struct text *out, uint8_t byte)
{
	if (room_for(out, 1))
		out->data[out->used++] = byte;
}

/* Decimal, filled to `width` with zeros. */
void add_padded(struct text *out, uint64_t number, int width)
{
	uint8_t digits[24];
	int at = sizeof digits;

	do {
		digits[--at] = (uint8_t)('0' + number % 10);
		number /= 10;
	} while (number);
	while ((int)sizeof digits - at < width && at)
		digits[--at] = '0';
	add(out, digits + at, sizeof digits - (size_t)at);
}

void add_decimal(struct text *out, uint64_t number) { add_padded(out, number, 0); }

/* As Python's hex(). */
void add_hex(struct text *out, uint64_t number)
{
	uint8_t digits[18];
	int at = sizeof digits;

	do {
		digits[--at] = (uint8_t)"0123456789abcdef"[number & 15];
		number >>= 4;
	} while (number);
	digits[--at] = 'x';
	digits[--at] = '0';
	add(out, digits + at, sizeof digits - (size_t)at);
}

void add_bytes(struct text *out, const uint8_t *bytes, size_t size)
{
	size_t one;

	if (!room_for(out, 2 * size))
		return;
	for (one = 0; one < size; one++) {
		out->data[out->used++] = (uint8_t)"0123456789abcdef"[bytes[one] >> 4];
		out->data[out->used++] = (uint8_t)"0123456789abcdef"[bytes[one] & 15];
	}
}

void add_guid(struct text *out, const uint8_t *bytes)
{
	uint8_t turned[16] = {bytes[3], bytes[2], bytes[1], bytes[0], bytes[5], bytes[4], bytes[7], bytes[6]};
	static const int parts[] = {4, 2, 2, 2, 6};
	int one, at = 0;

	memcpy(turned + 8, bytes + 8, 8);
	for (one = 0; one < 5; at += parts[one++]) {
		if (one)
			add_byte(out, '-');
		add_bytes(out, turned + at, (size_t)parts[one]);
	}
}
