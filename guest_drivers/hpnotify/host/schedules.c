/* SPDX-License-Identifier: MIT */
/*
 * Runs one script repeatedly, each time with another thread order:
 *
 *   hpnotify-schedules all BOUND           every order with at most BOUND turns out of the usual order: taken away from a
 *                                          thread that could go on, or, where it could not, not given to the next one
 *   hpnotify-schedules random SEED COUNT   COUNT orders drawn from SEED on; run I has the seed SEED + I
 *   hpnotify-schedules replay CHOICES      one order, as a failure names it: POSITION:CHOICE,...
 *
 * Only what is between "parallel" and "join" is put into other orders. Each run is judged (judge.c); the first that is
 * wrong ends everything, with its order and what was said in it. Each transcript in which other things happened, or in
 * another order, is shown once, up to MOST_SHOWN of them. The last line counts runs and transcripts.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core.h"
#include "fibers.h"
#include "host.h"
#include "judge.h"
#include "machine.h"

#define MOST_LINES 256
#define LANES 4
#define MOST_POINTS 100000
#define MOST_SHOWN 200
#define MOST_DIGESTS (1U << 20)

/* Provided by the sanitizers, if there is one. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static char *lines[MOST_LINES];
static int line_count;

/* The order of this run: at each point, how many could go on, and who did; 0 is the usual one. */
static struct point {
    unsigned char count;
    unsigned char chosen;
} points[MOST_POINTS];

static unsigned point_count;
static unsigned given;
static int exploring;
static int drawing;
static uint64_t random_state;
static unsigned random_shift;

static char *transcript;
static size_t transcript_used;
static size_t transcript_room;
static const char *wrong;

static unsigned long runs;
static unsigned long distinct;
static unsigned long longest;
static unsigned long long digests[MOST_DIGESTS];

static void show_choices(FILE *file)
{
    fprintf(file, "choices ");
    for (unsigned i = 0; i < point_count; i++)
        if (points[i].chosen != 0)
            fprintf(file, "%u:%u,", i, points[i].chosen);
    fprintf(file, "\n");
}

static void died(void)
{
    show_choices(stderr);
    fflush(stderr);
}

__attribute__((noreturn)) static void fail(const char *why)
{
    fwrite(transcript, 1, transcript_used, stdout);
    printf("wrong: %s\n", why);
    show_choices(stdout);
    fflush(stdout);
    _exit(1);
}

void fibers_stuck(const char *why)
{
    fail(why);
}

static uint64_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state >> 11;
}

unsigned fibers_choose(unsigned count, int preempts)
{
    struct point *point = &points[point_count];

    if (!exploring)
        return 0;
    if (point_count == MOST_POINTS)
        fail("more choices than are kept");
    if (point_count >= given)
        point->chosen = 0;
    if (drawing && (!preempts || draw() % (1U << random_shift) == 0))
        point->chosen = (unsigned char)(draw() % count);
    if (point->chosen >= count || (point_count + 1 < given && !drawing && point->count != 0 && point->count != count))
        fail("the same order led elsewhere");
    point->count = (unsigned char)count;
    point_count++;
    return point->chosen;
}

static void take(const char *bytes, size_t count)
{
    if (transcript_used + count + 1 > transcript_room) {
        transcript_room = 2 * (transcript_used + count + 1);
        transcript = realloc(transcript, transcript_room);
    }
    memcpy(transcript + transcript_used, bytes, count);
    transcript[transcript_used + count] = '\0';
    if (wrong == NULL)
        wrong = judge_line(transcript + transcript_used);
    transcript_used += count;
}

struct lane {
    char *commands[MOST_LINES];
    int count;
    unsigned *left;
};

static void lane_runs(void *context)
{
    struct lane *lane = context;
    char copy[4096];

    for (int i = 0; i < lane->count; i++) {
        snprintf(copy, sizeof(copy), "%s", lane->commands[i]);
        host_obey(copy);
    }
    --*lane->left;
}

/* Runs the lanes of the block that begins at `line`; returns the line of its end. */
static int parallel(int line)
{
    static struct lane lanes[LANES];
    unsigned left = 0;

    memset(lanes, 0, sizeof(lanes));
    for (; line < line_count && strcmp(lines[line], "join\n") != 0; line++) {
        char *rest;
        struct lane *lane = &lanes[strtoul(lines[line], &rest, 10) % LANES];

        lane->commands[lane->count++] = rest;
    }
    for (int i = 0; i < LANES; i++) {
        if (lanes[i].count != 0) {
            left++;
            lanes[i].left = &left;
            fibers_run(lane_runs, &lanes[i]);
        }
    }
    exploring = 1;
    fibers_wait(&left);
    exploring = 0;
    return line;
}

static void run(void)
{
    char copy[4096];

    transcript_used = 0;
    wrong = NULL;
    point_count = 0;
    judge_begin();
    host_forget_memory();
    fibers_begin();
    for (int i = 0; i < line_count; i++) {
        machine_flush();
        if (strcmp(lines[i], "parallel\n") == 0) {
            i = parallel(i + 1);
        } else {
            snprintf(copy, sizeof(copy), "%s", lines[i]);
            host_obey(copy);
        }
    }
    fibers_end();
    if (wrong == NULL)
        wrong = judge_end();
    if (wrong != NULL)
        fail(wrong);

    runs++;
    if (point_count > longest)
        longest = point_count;
    for (unsigned slot = (unsigned)judge_digest() % MOST_DIGESTS;; slot = (slot + 1) % MOST_DIGESTS) {
        if (digests[slot] == judge_digest() || distinct == MOST_DIGESTS / 2)
            break;
        if (digests[slot] == 0) {
            digests[slot] = judge_digest();
            if (distinct++ < MOST_SHOWN) {
                fwrite(transcript, 1, transcript_used, stdout);
                printf("transcript %lu\n", distinct);
            }
            break;
        }
    }
}

/* The next order, depth first: the last choice that has another one within the bound. Returns 0 if there is none. */
static int advance(unsigned bound)
{
    unsigned taken = 0;

    for (unsigned i = 0; i < point_count; i++)
        taken += points[i].chosen != 0;
    for (unsigned i = point_count; i-- != 0;) {
        taken -= points[i].chosen != 0;
        if (points[i].chosen + 1U < points[i].count && taken < bound) {
            points[i].chosen++;
            given = i + 1;
            return 1;
        }
    }
    return 0;
}

static void replay(const char *choices)
{
    for (char *rest; *choices != '\0'; choices = *rest == ',' ? rest + 1 : rest) {
        unsigned long position = strtoul(choices, &rest, 10);

        if (position >= MOST_POINTS || *rest != ':')
            exit(64);
        points[position].chosen = (unsigned char)strtoul(rest + 1, &rest, 10);
        given = (unsigned)position + 1;
    }
    run();
}

int main(int count, char **arguments)
{
    char line[4096];

    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(died);
    host_sink(take);
    while (line_count < MOST_LINES && fgets(line, sizeof(line), stdin) != NULL)
        lines[line_count++] = strdup(line);

    if (count == 3 && strcmp(arguments[1], "all") == 0) {
        do
            run();
        while (advance((unsigned)strtoul(arguments[2], NULL, 10)));
    } else if (count == 4 && strcmp(arguments[1], "random") == 0) {
        uint64_t seed = strtoull(arguments[2], NULL, 10);

        drawing = 1;
        for (unsigned long left = strtoul(arguments[3], NULL, 10); left != 0; left--, seed++) {
            random_state = (seed + 1) * 0x9E3779B97F4A7C15ULL;
            random_shift = (unsigned)(draw() % 7);
            run();
        }
    } else if (count == 3 && strcmp(arguments[1], "replay") == 0) {
        replay(arguments[2]);
    } else {
        fprintf(stderr, "usage: hpnotify-schedules all BOUND | random SEED COUNT | replay CHOICES\n");
        return 64;
    }
    printf("schedules %lu distinct %lu longest %lu\n", runs, distinct, longest);
    fflush(stdout);
    return 0;
}
