/* SPDX-License-Identifier: MIT */
/* The merge of the open buffers, step by step that of tracelog.TraceLog. */
#include <stdlib.h>
#include <string.h>
#include "fast.h"

static int grow(void **place, size_t *room, size_t wanted, size_t size)
{
	size_t more = *room ? *room : 16;
	void *found;

	if (wanted <= *room)
		return 1;
	while (more < wanted)
		more *= 2;
	found = realloc(*place, more * size);
	if (!found)
		return 0;
	*place = found;
	*room = more;
	return 1;
}

/* A stable sort by time; rows already in order are seen at once, and runs of them are merged. */
static void sort(struct entry *entries, struct entry *spare, size_t count)
{
	size_t half = count / 2, left, right, made;

	if (count < 2)
		return;
	if (count <= 16) {
		for (right = 1; right < count; right++) {
			struct entry one = entries[right];
			for (left = right; left && entries[left - 1].time > one.time; left--)
				entries[left] = entries[left - 1];
			entries[left] = one;
		}
		return;
	}
	sort(entries, spare, half);
	sort(entries + half, spare, count - half);
	if (entries[half - 1].time <= entries[half].time)
		return;
	memcpy(spare, entries, half * sizeof *entries);
	for (left = 0, right = half, made = 0; left < half; made++)
		entries[made] = right < count && entries[right].time < spare[left].time ? entries[right++] : spare[left++];
}

/* The place of the first entry from `low` on that is not before `time`. */
static size_t bisect(const struct entry *entries, size_t low, size_t high, wide time)
{
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (entries[middle].time < time)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int sooner(const struct buffer *one, const struct buffer *other)
{
	int64_t first = one->entries[one->place].time, second = other->entries[other->place].time;

	if (first != second)
		return first < second;
	return one->processor != other->processor ? one->processor < other->processor : one->key < other->key;
}

static int push(struct reader *reader, struct buffer *buffer)
{
	size_t at = reader->heap_count;

	if (!grow((void **)&reader->heap, &reader->heap_room, at + 1, sizeof *reader->heap))
		return 0;
	reader->heap_count++;
	for (; at && sooner(buffer, reader->heap[(at - 1) / 2]); at = (at - 1) / 2)
		reader->heap[at] = reader->heap[(at - 1) / 2];
	reader->heap[at] = buffer;
	return 1;
}

static struct buffer *pop(struct reader *reader)
{
	struct buffer *found = reader->heap[0], *last = reader->heap[--reader->heap_count];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < reader->heap_count) {
		if (child + 1 < reader->heap_count && sooner(reader->heap[child + 1], reader->heap[child]))
			child++;
		if (!sooner(reader->heap[child], last))
			break;
		reader->heap[at] = reader->heap[child];
		at = child;
	}
	reader->heap[at] = last;
	return found;
}

/* Find the next records of a buffer; 0 when it is used up, -1 without memory. */
static int refill(struct reader *reader, struct buffer *buffer)
{
	int64_t why[2] = {0, 0};
	int64_t before = buffer->count ? buffer->entries[buffer->count - 1].time : 0;
	uint32_t began = buffer->at;
	int code = walk(buffer->data, &buffer->at, buffer->end, before, buffer, why);

	buffer->place = 0;
	if (code) {
		struct damage *damage;
		if (!grow((void **)&reader->damages, &reader->damage_room, reader->damage_count + 1, sizeof *damage))
			return -1;
		damage = &reader->damages[reader->damage_count++];
		*damage = (struct damage){buffer->offset, began, buffer->expanded, code, why[0], why[1]};
	}
	if (!grow((void **)&reader->spare, &reader->spare_room, CHUNK, sizeof *reader->spare))
		return -1;
	sort(buffer->entries, reader->spare, (size_t)buffer->count);
	return buffer->count > 0;
}

static uint64_t cost(const struct buffer *buffer)
{
	uint64_t records = buffer->end / 16;

	return buffer->end + 400 * (records < CHUNK ? records : CHUNK);
}

static void release(struct buffer *buffer)
{
	free(buffer->data);
	free(buffer);
}

static int retire(struct reader *reader, struct buffer *buffer)
{
	if (!grow((void **)&reader->retired, &reader->retired_room, reader->retired_count + 1, sizeof *reader->retired))
		return 0;
	reader->retired[reader->retired_count++] = buffer;
	return 1;
}

/* Open a buffer, whose bytes are copied. Returns the bytes that open buffers hold, roughly; -1 without memory. */
int64_t fast_open(struct reader *reader, const uint8_t *data, uint64_t size, uint64_t offset, int processor, int64_t key,
                  int expanded)
{
	struct buffer *buffer = malloc(sizeof *buffer);
	int more;

	if (!buffer)
		return -1;
	buffer->data = malloc(size + 8);
	if (!buffer->data) {
		free(buffer);
		return -1;
	}
	memcpy(buffer->data, data, size);
	buffer->at = HEADER_SIZE;
	buffer->end = (uint32_t)size;
	buffer->offset = offset;
	buffer->key = key;
	buffer->processor = processor;
	buffer->expanded = expanded;
	buffer->place = buffer->count = 0;
	more = size > HEADER_SIZE ? refill(reader, buffer) : 0;
	if (more > 0 && push(reader, buffer)) {
		reader->cost += cost(buffer);
		return (int64_t)reader->cost;
	}
	release(buffer);
	return more ? -1 : (int64_t)reader->cost;
}

static int by_processor(const void *left, const void *right)
{
	const struct buffer *one = *(struct buffer *const *)left, *other = *(struct buffer *const *)right;

	if (one->processor != other->processor)
		return one->processor < other->processor ? -1 : 1;
	return one->key < other->key ? -1 : one->key > other->key;
}

/* Make the next batch of records before the horizon; 0 when there is none, -1 without memory. */
int cut(struct reader *reader, wide horizon)
{
	wide limit = horizon;
	size_t taken = 0, one;

	for (one = 0; one < reader->retired_count; one++)
		release(reader->retired[one]);
	reader->retired_count = reader->batch_count = reader->batch_place = reader->batch_end = 0;
	if (!reader->heap_count || reader->heap[0]->entries[reader->heap[0]->place].time >= horizon)
		return 0;
	while (reader->heap_count && reader->heap[0]->entries[reader->heap[0]->place].time < limit) {
		struct buffer *buffer = pop(reader);
		if (!grow((void **)&reader->taking, &reader->taking_room, taken + 1, sizeof buffer))
			return -1;
		reader->taking[taken++] = buffer;
		if (buffer->at < buffer->end && buffer->entries[buffer->count - 1].time < limit)
			limit = buffer->entries[buffer->count - 1].time;
	}
	qsort(reader->taking, taken, sizeof *reader->taking, by_processor);
	for (one = 0; one < taken; one++) {
		struct buffer *buffer = reader->taking[one];
		size_t place = (size_t)buffer->place, count = (size_t)buffer->count;
		size_t stop = bisect(buffer->entries, place, count, limit);
		if (stop == place && buffer->entries[place].time <= limit && limit < horizon)
			stop = bisect(buffer->entries, place, count, limit + 1);
		if (!grow((void **)&reader->batch, &reader->batch_room, reader->batch_count + stop - place, sizeof *reader->batch))
			return -1;
		memcpy(reader->batch + reader->batch_count, buffer->entries + place, (stop - place) * sizeof *reader->batch);
		reader->batch_count += stop - place;
		buffer->place = (int)stop;
		if (stop < count) {
			if (!push(reader, buffer))
				return -1;
			continue;
		}
		switch (refill(reader, buffer)) {
		case 0:
			reader->cost -= cost(buffer);
			if (!retire(reader, buffer))
				return -1;
			break;
		case 1:
			if (push(reader, buffer))
				break;
			/* fall through */
		default:
			return -1;
		}
	}
	if (taken > 1) {
		if (!grow((void **)&reader->spare, &reader->spare_room, reader->batch_count, sizeof *reader->spare))
			return -1;
		sort(reader->batch, reader->spare, reader->batch_count);
	}
	one = reader->batch_count;
	if (reader->has_latest && reader->batch[0].time < reader->latest)
		reader->late += bisect(reader->batch, 0, one, reader->latest);
	if (!reader->has_latest || reader->batch[one - 1].time > reader->latest)
		reader->latest = reader->batch[one - 1].time;
	reader->has_latest = 1;
	reader->records += one;
	reader->batch_place = reader->has_since ? bisect(reader->batch, 0, one, reader->since) : 0;
	reader->batch_end = reader->has_until ? bisect(reader->batch, 0, one, reader->until) : one;
	return 1;
}

/* Release all buffers. */
void release_buffers(struct reader *reader)
{
	size_t one;

	for (one = 0; one < reader->heap_count; one++)
		release(reader->heap[one]);
	for (one = 0; one < reader->retired_count; one++)
		release(reader->retired[one]);
	free(reader->heap);
	free(reader->taking);
	free(reader->retired);
	free(reader->damages);
	free(reader->batch);
	free(reader->spare);
}
