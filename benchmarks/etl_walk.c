/* SPDX-License-Identifier: MIT */
/* What reading a log costs at least: its records are walked and their times sorted, and nothing is made of them.
 *
 *     walk LOG      prints the records and the seconds of processor time
 *
 * For logs that are not compressed and not damaged. It shares nothing with the reader that it is compared with.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct found {
	int64_t time;
	uint64_t place;
};

static int by_time(const void *left, const void *right)
{
	int64_t one = ((const struct found *)left)->time, other = ((const struct found *)right)->time;

	return one < other ? -1 : one > other;
}

static uint32_t word(const uint8_t *at)
{
	uint32_t found;

	memcpy(&found, at, sizeof found);
	return found;
}

int main(int count, char **words)
{
	struct timespec began, ended;
	FILE *file = count == 2 ? fopen(words[1], "rb") : 0;
	uint8_t *data;
	struct found *all = 0;
	uint64_t size, at = 0, records = 0, room = 0;

	if (!file || fseek(file, 0, SEEK_END))
		return 1;
	size = (uint64_t)ftell(file);
	rewind(file);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
	data = malloc(size);
	if (!data || fread(data, 1, size, file) != size)
		return 1;
	while (at + 72 <= size) {
		uint64_t whole = word(data + at), used = word(data + at + 4), place = 72;
		if (word(data + at + 0x30) > used && (data[at + 0x36] == 4))
			used = word(data + at + 0x30);
		while (place + 8 <= used) {
			const uint8_t *record = data + at + place;
			uint32_t type = record[2], kernel = type <= 4 || type == 16 || type == 17;
			uint32_t length = (kernel ? word(record + 4) : word(record)) & 0xFFFF;
			if (word(record) == 0xFFFFFFFF || length < 8)
				break;
			if (records == room) {
				room = room ? 2 * room : 1 << 16;
				all = realloc(all, room * sizeof *all);
				if (!all)
					return 1;
			}
			memcpy(&all[records].time, record + (type == 16 || type == 17 ? 8 : 16), 8);
			all[records++].place = at + place;
			place += (length + 7) & ~7u;
		}
		at += whole;
	}
	qsort(all, records, sizeof *all, by_time);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
	printf("%llu %.9f\n", (unsigned long long)records,
	       (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
	return 0;
}
