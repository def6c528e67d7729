/* SPDX-License-Identifier: MIT */
/*
 * Requests of user mode to the driver, from libFuzzer's bytes: any code and buffers of any length, between additions,
 * failures and arrivals. The driver is started before and stopped after each input, and its output is judged as in
 * every other schedule (judge.c). Threads take turns in the usual order.
 *
 * An input is a list of steps: a byte that says which, and for a request its lengths and bytes. What is missing is 0.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "fibers.h"
#include "host.h"
#include "judge.h"
#include "machine.h"

#define MOST_STEPS 32
#define REQUESTS 10
#define CODE(function) (0x8504U << 16 | 3U << 14 | (0x800U + (function)) << 2)

/* The length that each request's input must have. */
static const unsigned char lengths[REQUESTS] = { 8, 32, 0, 0, 0, 4, 8, 8, 0, 4 };

struct input {
    const uint8_t *bytes;
    size_t left;
};

static const char *wrong;

unsigned fibers_choose(unsigned count, int preempts)
{
    (void)count;
    (void)preempts;
    return 0;
}

void fibers_stuck(const char *why)
{
    fprintf(stderr, "wrong: %s\n", why);
    abort();
}

static void take(const char *bytes, size_t count)
{
    char line[1024];

    snprintf(line, sizeof(line), "%.*s", (int)count, bytes);
    if (wrong == NULL && (wrong = judge_line(line)) != NULL)
        fprintf(stderr, "%s", line);
}

static unsigned next(struct input *input, unsigned count)
{
    unsigned value = 0;

    for (unsigned i = 0; i < count && input->left != 0; i++, input->left--)
        value |= (unsigned)*input->bytes++ << (8 * i);
    return value;
}

static void request(struct input *input, unsigned code, unsigned right_length)
{
    unsigned given = next(input, 1);
    unsigned long input_bytes = given < 128 ? right_length : given < 192 ? given - 128 : 64 * (given - 191);
    unsigned long output_bytes = next(input, 2) % 8192;
    unsigned char *in = calloc(1, input_bytes + !input_bytes);
    unsigned char *out = malloc(output_bytes + !output_bytes);
    unsigned long information = 0;

    for (unsigned long i = 0; i < input_bytes && input->left != 0; i++)
        in[i] = (unsigned char)next(input, 1);
    /* 100,000 work items or a minute's delay would be too slow for a fuzzer. */
    if (code == CODE(9) && input_bytes >= 2)
        in[1] = 0;
    core_service_control("hpnotify", code, input_bytes != 0 ? in : NULL, input_bytes, out, output_bytes, &information);
    if (information > output_bytes)
        wrong = "more bytes than the buffer holds";
    free(in);
    free(out);
}

static void interface(struct input *input)
{
    unsigned kinds = next(input, 1);
    unsigned bytes = next(input, 1) * 4 & ~1U;
    unsigned char *link = malloc(bytes + !bytes);

    for (unsigned i = 0; i < bytes; i++)
        link[i] = (unsigned char)next(input, 1);
    core_interface_changed(kinds % 3, kinds / 3 % 3, bytes != 0 ? (unsigned short *)link : NULL, bytes);
    free(link);
}

static void step(struct input *input, unsigned *added)
{
    static const char *const commands[] = { "add %u", "fail %u", "memory %u00000000 0x10000000" };
    unsigned which = next(input, 1);
    char command[64];

    if (which < 192) {
        request(input, CODE(which % REQUESTS), lengths[which % REQUESTS]);
    } else if (which < 208) {
        request(input, next(input, 4), 0);
    } else if (which < 224) {
        interface(input);
    } else {
        snprintf(command, sizeof(command), commands[which % 3], (*added)++);
        host_obey(command);
    }
    machine_flush();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const unsigned processors[] = { 0, 1 };
    struct core_value value = { "RingRecords", 16 };
    struct input input = { bytes, count };
    unsigned added = 2;

    wrong = NULL;
    host_sink(take);
    judge_begin();
    host_forget_memory();
    fibers_begin();
    core_initialize(processors, 2, 64, 2 + next(&input, 1) % 63);
    core_service_start("hpnotify", &value, 1);
    for (unsigned i = 0; i < MOST_STEPS && input.left != 0; i++)
        step(&input, &added);
    core_service_stop("hpnotify");
    fibers_end();
    if (wrong == NULL)
        wrong = judge_end();
    if (wrong != NULL)
        fibers_stuck(wrong);
    return 0;
}
