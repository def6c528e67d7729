/* SPDX-License-Identifier: MIT */
/*
 * The driver in a process, told what to do by lines on standard input. Debug-port lines appear on standard output as
 * they are; answers begin with '='. Commands:
 *
 *   processors COUNT MAXIMUM GROUP_SIZE   first of all
 *   start NAME [VALUE=N ...]              start a service                           = STATUS
 *   stop NAME                                                                       = STATUS
 *   control NAME CODE OUTPUT_BYTES [HEX]  a request to its device                   = STATUS HEX
 *   add N                                 a processor starts and runs               = STATUS
 *   fail N                                a processor starts, and then cannot run   = STATUS
 *   memory START BYTES                    memory arrives
 *   deferred                              run what was deferred (also done before each other command)
 *   plant NAME                                                                      = 0 or -1
 *   trace                                 show trace events and debug prints from now on
 *   break NTH                             have the nth fallible call from now fail
 *   fallible                              how many fallible calls there were        = COUNT
 *   repeat COUNT COMMAND                  run a command so many times
 *   parallel / NUMBER COMMAND / join      run commands of different numbers at the same time
 *
 * With "--sweep" the whole script is run again and again, each time in a new process and with the next fallible call
 * failing, until a run has none left to fail. Each run's output ends with "sweep N STATUS", STATUS as from wait().
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core.h"
#include "host.h"
#include "machine.h"

#define WORDS 16
#define MOST_LANES 8
#define MOST_COMMANDS 256

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

static void processors(char **words)
{
    unsigned count = (unsigned)number(words[1]);
    unsigned given[512];

    for (unsigned i = 0; i < count && i < 512; i++)
        given[i] = i;
    host_say("= %d\n", core_initialize(given, count, (unsigned)number(words[2]), (unsigned)number(words[3])));
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

static void *running(void *argument)
{
    unsigned added = *(unsigned *)argument;

    host_be(added);
    core_add_complete(added);
    return NULL;
}

/* As a real machine does: Start on a processor that runs already, Complete on the new one. */
static void add(unsigned added, int fails)
{
    pthread_t thread;
    int status;

    host_add_begin();
    status = core_add_start(added);
    if (status == 0 && fails) {
        core_add_failed(added);
    } else if (status == 0) {
        pthread_create(&thread, NULL, running, &added);
        pthread_join(thread, NULL);
    }
    host_add_end();
    host_say("= %08x\n", status);
}

static void obey(char *line)
{
    char *words[WORDS];
    int count = split(line, words);

    if (count == 0)
        return;
    if (strcmp(words[0], "processors") == 0 && count == 4) {
        processors(words);
    } else if (strcmp(words[0], "start") == 0 && count >= 2) {
        start(words, count);
    } else if (strcmp(words[0], "stop") == 0 && count == 2) {
        host_say("= %08x\n", core_service_stop(words[1]));
    } else if (strcmp(words[0], "control") == 0 && count >= 4) {
        control(words, count);
    } else if (strcmp(words[0], "add") == 0 && count == 2) {
        add((unsigned)number(words[1]), 0);
    } else if (strcmp(words[0], "fail") == 0 && count == 2) {
        add((unsigned)number(words[1]), 1);
    } else if (strcmp(words[0], "memory") == 0 && count == 3) {
        host_memory(number(words[1]), number(words[2]));
        core_memory_arrived(number(words[1]), number(words[2]));
    } else if (strcmp(words[0], "plant") == 0 && count == 2) {
        host_say("= %d\n", core_plant(words[1]));
    } else if (strcmp(words[0], "trace") == 0) {
        host_trace(1);
    } else if (strcmp(words[0], "break") == 0 && count == 2) {
        host_fail(number(words[1]));
    } else if (strcmp(words[0], "fallible") == 0) {
        host_say("= %lu\n", host_fallible());
    } else if (strcmp(words[0], "deferred") != 0) {
        host_say("? %s\n", words[0]);
        exit(64);
    }
}

struct lane {
    char *commands[MOST_COMMANDS];
    int count;
};

static void *run_lane(void *argument)
{
    struct lane *lane = argument;

    for (int i = 0; i < lane->count; i++) {
        obey(lane->commands[i]);
        free(lane->commands[i]);
        machine_flush();
    }
    return NULL;
}

static void parallel(FILE *script)
{
    static struct lane lanes[MOST_LANES];
    pthread_t threads[MOST_LANES];
    char line[4096];

    memset(lanes, 0, sizeof(lanes));
    while (fgets(line, sizeof(line), script) != NULL && strcmp(line, "join\n") != 0) {
        char *rest;
        unsigned long lane = strtoul(line, &rest, 10) % MOST_LANES;

        if (lanes[lane].count < MOST_COMMANDS)
            lanes[lane].commands[lanes[lane].count++] = strdup(rest);
    }
    for (int i = 0; i < MOST_LANES; i++)
        pthread_create(&threads[i], NULL, run_lane, &lanes[i]);
    for (int i = 0; i < MOST_LANES; i++)
        pthread_join(threads[i], NULL);
}

static void repeat(char *line)
{
    char copy[4096];
    char *rest;

    for (unsigned long left = strtoul(line, &rest, 10); left != 0; left--) {
        snprintf(copy, sizeof(copy), "%s", rest);
        obey(copy);
    }
}

static void perform(FILE *script)
{
    static char line[1 << 18];

    while (fgets(line, sizeof(line), script) != NULL) {
        machine_flush();
        if (strcmp(line, "parallel\n") == 0)
            parallel(script);
        else if (strncmp(line, "repeat ", 7) == 0)
            repeat(line + 7);
        else
            obey(line);
    }
    machine_flush();
    core_finish();
    host_wait();
    if (host_allocations() != 0)
        host_say("trouble: %ld allocations were never freed\n", host_allocations());
    fflush(stdout);
}

/* Runs the script with its nth fallible call failing; returns whether there was such a call. */
static int sweep(char *script, size_t length, unsigned long nth)
{
    int pipes[2];
    char reached = 0;
    int status;
    pid_t child;

    fflush(stdout);
    if (pipe(pipes) != 0 || (child = fork()) < 0)
        exit(71);
    if (child == 0) {
        close(pipes[0]);
        host_fail(nth);
        perform(fmemopen(script, length, "r"));
        reached = host_fallible() >= nth;
        if (write(pipes[1], &reached, 1) != 1)
            exit(74);
        exit(0);
    }
    close(pipes[1]);
    /* A run that died says nothing and counts as one that reached its failure. */
    if (read(pipes[0], &reached, 1) != 1)
        reached = 1;
    close(pipes[0]);
    waitpid(child, &status, 0);
    host_say("sweep %lu %d\n", nth, status);
    return reached;
}

int main(int count, char **arguments)
{
    static char script[1 << 16];
    size_t length;

    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (count == 2 && strcmp(arguments[1], "--sweep") == 0) {
        length = fread(script, 1, sizeof(script), stdin);
        for (unsigned long nth = 1; sweep(script, length, nth); nth++) {
        }
        fflush(stdout);
        return 0;
    }
    perform(stdin);
    return 0;
}
