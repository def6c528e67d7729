/* SPDX-License-Identifier: MIT */
/* The reader: what library.py calls. Buffers go in, lines or counts come out, and whatever is not known is asked for. */
#include <stdlib.h>
#include <string.h>
#include "fast.h"

#define FULL (256 << 10)
#define ASK -1
#define SKIP -2

void release_buffers(struct reader *reader);
void release_keys(struct reader *reader);
void fast_forget(struct reader *reader);

/* Return a new reader, 0 without memory. A rate of 0 is a clock that is not known. */
struct reader *fast_new(int counting, int64_t hz, int64_t start, int64_t start_filetime)
{
	struct reader *reader = calloc(1, sizeof *reader);

	if (reader) {
		reader->counting = counting;
		reader->hz = hz;
		reader->start = start;
		reader->start_filetime = start_filetime;
	}
	return reader;
}

/* Release a reader and all that it holds. */
void fast_free(struct reader *reader)
{
	int one;

	release_buffers(reader);
	release_keys(reader);
	for (one = 0; one < 3; one++)
		free(reader->wanted[one].number);
	free(reader->counts);
	free(reader->text.data);
	free(reader);
}

/* Give out only records of these times. */
void fast_between(struct reader *reader, int has_since, int64_t since, int has_until, int64_t until)
{
	reader->has_since = has_since;
	reader->since = since;
	reader->has_until = has_until;
	reader->until = until;
}

/* Give out only records of these processes (0), threads (1) or processors (2); 0 without memory. */
int fast_only(struct reader *reader, int which, const uint32_t *numbers, uint64_t count)
{
	struct numbers *wanted = &reader->wanted[which];

	wanted->number = malloc(count * sizeof *numbers + 1);
	if (!wanted->number)
		return 0;
	memcpy(wanted->number, numbers, count * sizeof *numbers);
	wanted->count = count;
	wanted->given = 1;
	return 1;
}

static int is_wanted(const struct numbers *wanted, uint32_t number)
{
	size_t one;

	if (!wanted->given)
		return 1;
	for (one = 0; one < wanted->count; one++)
		if (wanted->number[one] == number)
			return 1;
	return 0;
}

/* Whether the numbers of a record are wanted; of messages and rare headers Python finds out. */
static int is_chosen(struct reader *reader, const struct entry *entry, const uint8_t *record)
{
	if (entry->kind == KIND_MESSAGE || entry->kind == KIND_OTHER)
		return 1;
	if (!is_wanted(&reader->wanted[2], (uint32_t)entry->buffer->processor))
		return 0;
	if (entry->kind == KIND_PERF)
		return !reader->wanted[0].given && !reader->wanted[1].given;
	return is_wanted(&reader->wanted[0], u32(record + 12)) && is_wanted(&reader->wanted[1], u32(record + 8));
}

static void step(struct reader *reader, const struct entry *entry)
{
	reader->kinds[entry->kind]++;
	reader->processors[entry->buffer->processor & (PROCESSORS - 1)]++;
	reader->batch_place++;
}

static int asks(struct reader *reader, const struct entry *entry, int what)
{
	reader->record = entry->buffer->data + entry->at;
	reader->record_size = entry->size;
	reader->record_time = entry->time;
	reader->record_processor = entry->buffer->processor;
	return what;
}

/* Treat one record; returns what is wanted for it, -1 when it is done. */
static int treat(struct reader *reader, const struct entry *entry)
{
	const int32_t *known;
	int done;

	if (!is_chosen(reader, entry, entry->buffer->data + entry->at)) {
		step(reader, entry);
		return -1;
	}
	if (entry->kind == KIND_MESSAGE || entry->kind == KIND_OTHER)
		return asks(reader, entry, WANTS_RECORD);
	known = find_key(reader, entry);
	if (!known)
		return reader->key_size ? asks(reader, entry, WANTS_KEY) : NO_MEMORY;
	if (*known == ASK)
		return asks(reader, entry, WANTS_RECORD);
	if (*known == SKIP) {
		step(reader, entry);
		return -1;
	}
	if (reader->counting) {
		reader->counts[*known]++;
		step(reader, entry);
		return -1;
	}
	done = add_line(reader, entry, reader->programs[*known]);
	if (reader->text.failed)
		return NO_MEMORY;
	if (done <= 0)
		return asks(reader, entry, done ? WANTS_SECOND : WANTS_RECORD);
	step(reader, entry);
	return -1;
}

/* Go on up to a horizon (without one to the end of the open buffers); returns what is wanted. */
int fast_run(struct reader *reader, int has_horizon, int64_t horizon)
{
	wide limit = has_horizon ? (wide)horizon : (wide)1 << 64;

	for (;;) {
		int made;
		while (reader->batch_place < reader->batch_end) {
			int wants = treat(reader, &reader->batch[reader->batch_place]);
			reader->out = reader->text.data;
			reader->out_size = reader->text.used;
			if (wants >= 0)
				return wants;
			if (reader->text.used >= FULL)
				return WANTS_ROOM;
		}
		made = cut(reader, limit);
		if (made < 0)
			return NO_MEMORY;
		if (!made)
			return WANTS_BUFFER;
	}
}

/* Tell what was asked for with WANTS_RECORD: the line, if there is one. 0 without memory. */
int fast_answer(struct reader *reader, const uint8_t *line, uint64_t size)
{
	add(&reader->text, line, size);
	reader->out = reader->text.data;
	reader->out_size = reader->text.used;
	step(reader, &reader->batch[reader->batch_place]);
	return !reader->text.failed;
}

/* Tell a second since 1601 as text, and its zone. */
void fast_second(struct reader *reader, int64_t number, const char *written, uint64_t size, const char *zone,
                 uint64_t zone_size)
{
	struct second *second = &reader->seconds[(uint64_t)number % SECONDS];

	if (size > sizeof second->written || zone_size > sizeof second->zone)
		size = zone_size = 0;
	second->number = number;
	second->known = 1;
	second->size = (uint8_t)size;
	second->zone_size = (uint8_t)zone_size;
	memcpy(second->written, written, size);
	memcpy(second->zone, zone, zone_size);
}

/* The text so far was taken. */
void fast_taken(struct reader *reader)
{
	reader->text.used = 0;
	reader->out_size = 0;
}

/* The damages so far were taken. */
void fast_noted(struct reader *reader) { reader->damage_count = 0; }

/* Make room for a number that is counted; 0 without memory. */
int fast_count(struct reader *reader, uint64_t size)
{
	uint64_t *found;

	if (size <= reader->count_size)
		return 1;
	found = realloc(reader->counts, size * sizeof *found);
	if (!found)
		return 0;
	memset(found + reader->count_size, 0, (size - reader->count_size) * sizeof *found);
	reader->counts = found;
	reader->count_size = size;
	return 1;
}

/* Take a program: rows of 8 numbers for fields (op, width, flags, converted, count kind and value, length kind and value),
 * pieces (slot, show, literal's place, size and characters, labels' place and count) and labels (value, literal's place, size).
 * Returns its number, -1 without memory. */
int fast_define(struct reader *reader, const int64_t *head, const int64_t *rows, const uint8_t *literals, uint64_t size)
{
	struct program *program = calloc(1, sizeof *program);
	int one;

	if (!program)
		return -1;
	program->shape = (int)head[0];
	program->pointer = (int)head[1];
	program->needed = (int)head[2];
	program->head_size = (size_t)head[3];
	program->fields = (int)head[4];
	program->pieces = (int)head[5];
	program->labels = (int)head[6];
	program->exact = (int)head[7];
	program->message = (int)head[8];
	program->literals = malloc(size + 1);
	program->field = calloc((size_t)program->fields + 1, sizeof *program->field);
	program->piece = calloc((size_t)program->pieces + 1, sizeof *program->piece);
	program->label = calloc((size_t)program->labels + 1, sizeof *program->label);
	if (reader->program_count == reader->program_room) {
		size_t room = reader->program_room ? 2 * reader->program_room : 64;
		struct program **found = realloc(reader->programs, room * sizeof *found);
		if (found) {
			reader->programs = found;
			reader->program_room = room;
		}
	}
	if (!program->literals || !program->field || !program->piece || !program->label ||
	    reader->program_count == reader->program_room) {
		free(program->literals);
		free(program->field);
		free(program->piece);
		free(program->label);
		free(program);
		return -1;
	}
	memcpy(program->literals, literals, size);
	program->head = program->literals;
	for (one = 0; one < program->fields; one++, rows += 8)
		program->field[one] = (struct field){(int)rows[0], (int)rows[1], (int)rows[2], (int)rows[3],
		                                     (int)rows[4], (int)rows[6], rows[5],      rows[7]};
	for (one = 0; one < program->pieces; one++, rows += 8)
		program->piece[one] = (struct piece){(int)rows[0], (int)rows[1], program->literals + rows[2],
		                                     (size_t)rows[3], (size_t)rows[4], (int)rows[5], (int)rows[6]};
	for (one = 0; one < program->labels; one++, rows += 8)
		program->label[one] = (struct label){(uint64_t)rows[0], program->literals + rows[1], (size_t)rows[2]};
	reader->programs[reader->program_count] = program;
	return (int)reader->program_count++;
}
