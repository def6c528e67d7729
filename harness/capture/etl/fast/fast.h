/* SPDX-License-Identifier: MIT */
/* The compiled reader of event trace logs: what its parts share. reader.py says how it is driven. */
#ifndef FAST_H
#define FAST_H

#include <stdint.h>
#include <stddef.h>

typedef __int128 wide;

/* Header types (record.py). */
enum {
	SYSTEM32 = 1, SYSTEM64, COMPACT32, COMPACT64,
	FULL32 = 10, INSTANCE32, TIMED, ERROR_HEADER, WNODE, MESSAGE,
	PERFINFO32, PERFINFO64, EVENT32, EVENT64, FULL64, INSTANCE64
};

/* What kind of record it is, in the order of reader.py's KINDS. */
enum { KIND_EVENT, KIND_SYSTEM, KIND_COMPACT, KIND_PERF, KIND_CLASSIC, KIND_INSTANCE, KIND_MESSAGE, KIND_OTHER, KINDS };

/* Why a walk ended within a buffer, in the order of reader.py's DAMAGES. */
enum { DAMAGE_NONE, DAMAGE_MARKER, DAMAGE_SHORT, DAMAGE_PAST, DAMAGE_MESSAGE };

/* What fast_run wants next. */
enum { WANTS_BUFFER, WANTS_ROOM, WANTS_KEY, WANTS_RECORD, WANTS_SECOND, NO_MEMORY };

#define HEADER_SIZE 72
#define CHUNK 1024
#define PROCESSORS 2048

struct buffer;

struct entry {
	int64_t time;
	struct buffer *buffer;
	uint32_t at;
	uint32_t size;
	uint16_t type; /* header type */
	uint16_t kind;
};

struct buffer {
	uint8_t *data;
	uint32_t at, end;
	uint64_t offset;
	int64_t key;
	int processor;
	int expanded;
	int place, count;
	struct entry entries[CHUNK];
};

struct damage {
	uint64_t offset;
	uint64_t at;
	int64_t expanded, code, first, second;
};

struct text {
	uint8_t *data;
	size_t used, room;
	int failed;
};

/* One key: the head of a record that tells how all records like it are treated. */
struct key {
	uint64_t hash;
	uint8_t *bytes;
	uint32_t size;
	int32_t value;
};

struct second {
	int64_t number;
	uint8_t known, size, zone_size;
	char written[48], zone[16];
};

#define SECONDS 64

struct field {
	int op, width, flags, converted;
	int count_kind, length_kind;
	int64_t count, length;
};

struct piece {
	int slot, show;
	const uint8_t *literal;
	size_t size, raw;
	int label, labels;
};

struct label {
	uint64_t value;
	const uint8_t *literal;
	size_t size;
};

enum { VALUE_NONE, VALUE_UNSIGNED, VALUE_SIGNED, VALUE_BOOL, VALUE_ANSI, VALUE_UTF16, VALUE_GUID, VALUE_SID,
       VALUE_BYTES, VALUE_IP4, VALUE_IP6, VALUE_SYSTEMTIME, VALUE_ARRAY };

/* One value of a payload: a number, or where its bytes stand. `size` counts bytes, UTF-16 units or the array's members. */
struct value {
	int kind;
	int width;
	int is_signed;
	uint32_t size;
	uint64_t number;
	const uint8_t *bytes;
};

#define MOST_FIELDS 64

struct program {
	int shape, pointer, needed, fields, pieces, labels, exact;
	int message; /* the pieces that are the message's, behind those of the values */
	uint8_t *literals;
	const uint8_t *head;
	size_t head_size;
	struct field *field;
	struct piece *piece;
	struct label *label;
};

enum { SHAPE_RAW, SHAPE_VALUES, SHAPE_MESSAGE };

struct numbers {
	uint32_t *number;
	size_t count;
	int given;
};

/* The first members, up to `counts`, are read by library.py in this order. */
struct reader {
	const uint8_t *out;
	uint64_t out_size;
	const uint8_t *record;
	uint64_t record_size;
	int64_t record_time;
	int64_t record_processor;
	int64_t second;
	uint64_t records, late;
	struct damage *damages;
	uint64_t damage_count;
	uint64_t kinds[KINDS];
	uint64_t processors[PROCESSORS];
	uint64_t *counts;
	uint64_t count_size;

	int counting;
	int64_t hz, start, start_filetime;
	int64_t since, until;
	int has_since, has_until;
	struct numbers wanted[3]; /* process, thread, processor */

	struct buffer **heap;
	size_t heap_count, heap_room;
	struct buffer **taking;
	size_t taking_room;
	struct buffer **retired;
	size_t retired_count, retired_room;
	uint64_t cost;
	size_t damage_room;
	struct entry *batch, *spare;
	size_t batch_count, batch_place, batch_end, batch_room, spare_room;
	int has_latest;
	int64_t latest;

	struct key *keys;
	size_t key_count, key_room, key_bytes;
	uint8_t *key;
	size_t key_size, key_capacity;
	struct program **programs;
	size_t program_count, program_room;
	struct second seconds[SECONDS];
	struct text text;
};

/* walk.c */
int walk(const uint8_t *data, uint32_t *at, uint32_t end, int64_t before, struct buffer *buffer, int64_t why[2]);
/* merge.c */
int cut(struct reader *reader, wide horizon);
/* key.c */
int32_t *find_key(struct reader *reader, const struct entry *entry);
/* event.c */
struct items {
	const uint8_t *schema, *traits, *payload;
	uint32_t schema_size, traits_size, first, end;
};
void find_items(const uint8_t *record, uint32_t size, struct items *found);
int add_context(struct text *out, const uint8_t *record, uint32_t size);
/* value.c */
int read_fields(const struct program *program, const uint8_t *data, uint32_t size, struct value *values, uint32_t *rest);
int add_value(struct text *out, const struct program *program, const struct piece *piece, const struct value *value);
/* line.c */
int add_line(struct reader *reader, const struct entry *entry, const struct program *program);
/* text.c */
void add(struct text *out, const void *bytes, size_t size);
void add_byte(struct text *out, uint8_t byte);
void add_decimal(struct text *out, uint64_t number);
void add_hex(struct text *out, uint64_t number);
void add_padded(struct text *out, uint64_t number, int width);
void add_bytes(struct text *out, const uint8_t *bytes, size_t size);
void add_guid(struct text *out, const uint8_t *bytes);

static inline uint16_t u16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }
static inline uint32_t u32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}
static inline uint64_t u64(const uint8_t *at) { return (uint64_t)u32(at) | (uint64_t)u32(at + 4) << 32; }

#endif
