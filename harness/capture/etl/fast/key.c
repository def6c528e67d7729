/* SPDX-License-Identifier: MIT */
/* Keys: what of a record tells how it is named and decoded, and the table of those that are known. */
#include <stdlib.h>
#include <string.h>
#include "fast.h"

enum { MOST_KEYS = 1 << 14, MOST_KEY_BYTES = 16 << 20, CLASSIC_FLAG = 0x100, WIDTH_FLAGS = 0x60 };

static int put(struct reader *reader, const void *bytes, size_t size)
{
	if (reader->key_size + size > reader->key_capacity) {
		size_t capacity = 2 * (reader->key_size + size);
		uint8_t *found = realloc(reader->key, capacity);
		if (!found)
			return 0;
		reader->key = found;
		reader->key_capacity = capacity;
	}
	if (size)
		memcpy(reader->key + reader->key_size, bytes, size);
	reader->key_size += size;
	return 1;
}

/* An event: provider, id, version, opcode, task, the width of its pointers, and what it says of itself. */
static int put_event(struct reader *reader, const uint8_t *record, uint32_t size)
{
	struct items items;
	uint16_t flags = u16(record + 4) & (CLASSIC_FLAG | WIDTH_FLAGS);
	uint8_t head[32];

	find_items(record, size, &items);
	memcpy(head, record + 24, 16);
	memcpy(head + 16, record + 40, 2); /* id */
	head[18] = record[42];             /* version */
	head[19] = record[45];             /* opcode */
	memcpy(head + 20, record + 46, 2); /* task */
	head[22] = (uint8_t)flags;
	head[23] = (uint8_t)(flags >> 8);
	head[24] = items.schema != 0;
	head[25] = items.traits != 0;
	memcpy(head + 26, &items.traits_size, 4);
	head[30] = head[31] = 0;
	return put(reader, head, sizeof head) && put(reader, items.traits, items.traits_size) &&
	       put(reader, items.schema, items.schema_size);
}

static int put_key(struct reader *reader, const struct entry *entry)
{
	const uint8_t *record = entry->buffer->data + entry->at;
	uint8_t head[2] = {(uint8_t)entry->kind, (uint8_t)entry->type};

	reader->key_size = 0;
	if (!put(reader, head, 2))
		return 0;
	switch (entry->kind) {
	case KIND_EVENT:
		return put_event(reader, record, entry->size);
	case KIND_SYSTEM:
	case KIND_COMPACT:
	case KIND_PERF:
		/* Type and group, and the version without its flags. */
		return put(reader, record + 6, 2) && put(reader, record, 1);
	default:
		/* Class, and type and version, which stand beside the level. */
		return put(reader, record + 4, 1) && put(reader, record + 6, 2) && put(reader, record + 24, 16);
	}
}

static uint64_t hashed(const uint8_t *bytes, size_t size)
{
	uint64_t hash = 0x9E3779B97F4A7C15u ^ size, word;

	for (; size >= 8; size -= 8, bytes += 8) {
		memcpy(&word, bytes, 8);
		hash = (hash ^ word) * 0xFF51AFD7ED558CCDu;
		hash ^= hash >> 32;
	}
	if (size) {
		word = 0;
		memcpy(&word, bytes, size);
		hash = (hash ^ word) * 0xFF51AFD7ED558CCDu;
		hash ^= hash >> 32;
	}
	return hash;
}

static void free_programs(struct reader *reader)
{
	size_t one;

	for (one = 0; one < reader->program_count; one++) {
		struct program *program = reader->programs[one];
		if (program) {
			free(program->literals);
			free(program->field);
			free(program->piece);
			free(program->label);
			free(program);
		}
	}
	reader->program_count = 0;
}

/* Forget all keys and programs. */
void fast_forget(struct reader *reader)
{
	size_t one;

	for (one = 0; one < reader->key_room; one++)
		free(reader->keys[one].bytes);
	free(reader->keys);
	reader->keys = 0;
	reader->key_count = reader->key_room = reader->key_bytes = 0;
	free_programs(reader);
}

static struct key *slot(struct key *keys, size_t room, uint64_t hash, const uint8_t *bytes, size_t size)
{
	size_t at = hash & (room - 1);

	while (keys[at].bytes && (keys[at].hash != hash || keys[at].size != size || memcmp(keys[at].bytes, bytes, size)))
		at = (at + 1) & (room - 1);
	return &keys[at];
}

/* Return what is known of a record's key, 0 when nothing is; reader->key holds it then. */
int32_t *find_key(struct reader *reader, const struct entry *entry)
{
	struct key *found;

	if (!put_key(reader, entry)) {
		reader->key_size = 0;
		return 0;
	}
	if (!reader->key_room)
		return 0;
	found = slot(reader->keys, reader->key_room, hashed(reader->key, reader->key_size), reader->key, reader->key_size);
	return found->bytes ? &found->value : 0;
}

/* Remember `value` of the key that was asked for last; 0 without memory. */
int fast_learn(struct reader *reader, int32_t value)
{
	uint64_t hash = hashed(reader->key, reader->key_size);
	struct key *found;

	if (reader->key_count >= MOST_KEYS || reader->key_bytes > MOST_KEY_BYTES) {
		/* A guest that never repeats itself must not fill the memory. The programs are made by what is learnt next. */
		struct program *kept = value >= 0 && !reader->counting ? reader->programs[value] : 0;
		if (kept)
			reader->programs[value] = 0;
		fast_forget(reader);
		if (kept) {
			reader->programs[0] = kept;
			reader->program_count = 1;
			value = 0;
		}
	}
	if (2 * (reader->key_count + 1) > reader->key_room) {
		size_t room = reader->key_room ? 2 * reader->key_room : 256, one;
		struct key *keys = calloc(room, sizeof *keys);
		if (!keys)
			return 0;
		for (one = 0; one < reader->key_room; one++)
			if (reader->keys[one].bytes)
				*slot(keys, room, reader->keys[one].hash, reader->keys[one].bytes, reader->keys[one].size) =
					reader->keys[one];
		free(reader->keys);
		reader->keys = keys;
		reader->key_room = room;
	}
	found = slot(reader->keys, reader->key_room, hash, reader->key, reader->key_size);
	if (!found->bytes) {
		found->bytes = malloc(reader->key_size ? reader->key_size : 1);
		if (!found->bytes)
			return 0;
		memcpy(found->bytes, reader->key, reader->key_size);
		found->hash = hash;
		found->size = (uint32_t)reader->key_size;
		reader->key_count++;
		reader->key_bytes += reader->key_size;
	}
	found->value = value;
	return 1;
}

/* Release all keys and programs. */
void release_keys(struct reader *reader)
{
	fast_forget(reader);
	free(reader->key);
	free(reader->programs);
}
