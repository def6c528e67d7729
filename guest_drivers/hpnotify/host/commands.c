/* SPDX-License-Identifier: MIT */
/*
 * The commands that the host process takes, one line each. Debug-port lines are printed as they are; answers begin with
 * '=', and violations of invariants with "trouble:".
 *
 *   processors COUNT MAXIMUM GROUP_SIZE [BYTES]   first of all, with so much memory
 *
 *   start NAME [VALUE=N ...]              start a service                           = STATUS
 *   stop NAME                                                                       = STATUS
 *   reenable NAME                         its first device goes and comes again       = STATUS
 *   control NAME CODE OUTPUT_BYTES [HEX]  a request to its device                   = STATUS HEX
 *
 *   add N                                 a processor starts and runs               = STATUS
 *   fail N                                a processor starts, and then cannot run   = STATUS
 *   memory START BYTES                    memory arrives                          = 0
 *   counts                                active processors and bytes of memory    counts N BYTES
 *
 *   echo WORD                             a sign of life                           echo WORD
 *   deferred                              nothing; what was deferred runs before each command
 *   interface EVENT CLASS [HEX]           an interface event that nothing documented sends; the name in UTF-16
 *
 *   plant NAME                                                                      = 0 or -1
 *   older                                 a system from before Windows 10 2004      = 0
 *   trace                                 show trace events and debug prints from now on
 *
 *   break NTH                             the nth fallible call from now fails
 *   allocations                           what the layer holds for itself and for drivers  = COUNT
 *   fallible                              how many fallible calls there were        = COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "host.h"
#include "machine.h"

#define WORDS 16

static int split(char *line, char *words[WORDS])
{
    int count = 0;
    char *state;

    for (char *word = strtok_r(line, " \n", &state); word != NULL && count < WORDS; word = strtok_r(NULL, " \n", &state))
        words[count++] = word;
    return count;
}

static unsigned long long number(const char *text)
{
    return strtoull(text, NULL, 0);
}

static void processors(char **words, int count_of_words)
{
    unsigned count = (unsigned)number(words[1]);
    unsigned given[512];

    for (unsigned i = 0; i < count && i < 512; i++)
        given[i] = i;
    if (count_of_words == 5)
        host_first_memory(number(words[4]));
    host_say("= %d\n", core_initialize(given, count, (unsigned)number(words[2]), (unsigned)number(words[3])));
}

static void counts(void)
{
    struct machine_range ranges[64];
    unsigned count = machine_memory(ranges, sizeof(ranges) / sizeof(ranges[0]));
    unsigned long long bytes = 0;

    for (unsigned i = 0; i < count; i++)
        bytes += ranges[i].bytes;
    host_say("counts %u %llu\n= 0\n", core_active(), bytes);
}

static void start(char **words, int count)
{
    struct core_value values[CORE_VALUES] = { 0 };
    unsigned used = 0;

    for (int i = 2; i < count && used < CORE_VALUES; i++) {
        char *equals = strchr(words[i], '=');

        if (equals == NULL)
            continue;
        snprintf(values[used].name, sizeof(values[used].name), "%.*s", (int)(equals - words[i]), words[i]);
        values[used++].value = (unsigned)number(equals + 1);
    }
    host_say("= %08x\n", core_service_start(words[1], values, used));
}

static void control(char **words, int count)
{
    const char *hex = count > 4 ? words[4] : "";
    unsigned long input_bytes = strlen(hex) / 2;
    unsigned long output_bytes = number(words[3]);
    /* Exactly as large as announced, so that a sanitizer sees a byte read or written too far. */
    unsigned char *input = malloc(input_bytes + !input_bytes);
    unsigned char *output = malloc(output_bytes + !output_bytes);
    unsigned long information = 0;
    char *shown;
    int status;

    for (unsigned long i = 0; i < input_bytes; i++)
        sscanf(hex + 2 * i, "%2hhx", &input[i]);
    status = core_service_control(words[1], (unsigned)number(words[2]), input_bytes ? input : NULL, input_bytes, output,
                                  output_bytes, &information);
    shown = calloc(2, information + 1);
    for (unsigned long i = 0; i < information; i++)
        sprintf(shown + 2 * i, "%02x", output[i]);
    host_say("= %08x %s\n", status, shown);
    free(shown);
    free(output);
    free(input);
}

static void completes(void *argument)
{
    core_add_complete(*(unsigned *)argument);
}

/* As a real machine does: Start on a processor that runs already, Complete on the new one. */
static void add(unsigned added, int fails)
{
    int status;

    host_add_begin();
    status = core_add_start(added);
    if (status == 0 && fails)
        core_add_failed(added);
    else if (status == 0)
        host_on(added, completes, &added);
    host_add_end();
    host_say("= %08x\n", status);
}

static void interface(char **words, int count)
{
    const char *hex = count > 3 ? words[3] : "";
    unsigned bytes = (unsigned)strlen(hex) / 2;
    unsigned char *link = count > 3 ? malloc(bytes) : NULL;

    for (unsigned i = 0; i < bytes; i++)
        sscanf(hex + 2 * i, "%2hhx", &link[i]);
    core_interface_changed((unsigned)number(words[1]), (unsigned)number(words[2]), (unsigned short *)link, bytes);
    free(link);
}

void host_obey(char *line)
{
    char *words[WORDS];
    int count = split(line, words);

    if (count == 0)
        return;
    if (strcmp(words[0], "processors") == 0 && (count == 4 || count == 5)) {
        processors(words, count);
    } else if (strcmp(words[0], "counts") == 0 && count == 1) {
        counts();
    } else if (strcmp(words[0], "echo") == 0 && count == 2) {
        host_say("echo %s\n= 0\n", words[1]);
    } else if (strcmp(words[0], "start") == 0 && count >= 2) {
        start(words, count);
    } else if (strcmp(words[0], "stop") == 0 && count == 2) {
        host_say("= %08x\n", core_service_stop(words[1]));
    } else if (strcmp(words[0], "reenable") == 0 && count == 2) {
        host_say("= %08x\n", core_service_reenable(words[1]));
    } else if (strcmp(words[0], "control") == 0 && count >= 4) {
        control(words, count);
    } else if (strcmp(words[0], "add") == 0 && count == 2) {
        add((unsigned)number(words[1]), 0);
    } else if (strcmp(words[0], "fail") == 0 && count == 2) {
        add((unsigned)number(words[1]), 1);
    } else if (strcmp(words[0], "memory") == 0 && count == 3) {
        host_memory(number(words[1]), number(words[2]));
        core_memory_arrived(number(words[1]), number(words[2]));
        host_say("= 0\n");
    } else if (strcmp(words[0], "interface") == 0 && (count == 3 || count == 4)) {
        interface(words, count);
    } else if (strcmp(words[0], "plant") == 0 && count == 2) {
        host_say("= %d\n", core_plant(words[1]));
    } else if (strcmp(words[0], "older") == 0) {
        core_older_system(1);
        host_say("= 0\n");
    } else if (strcmp(words[0], "trace") == 0) {
        host_trace(1);
    } else if (strcmp(words[0], "break") == 0 && count == 2) {
        host_fail(number(words[1]));
    } else if (strcmp(words[0], "allocations") == 0) {
        host_say("= %lx\n", (unsigned long)host_allocations());
    } else if (strcmp(words[0], "fallible") == 0) {
        host_say("= %lu\n", host_fallible());
    } else if (strcmp(words[0], "deferred") != 0) {
        host_say("? %s\n", words[0]);
        exit(64);
    }
}
