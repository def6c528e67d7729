/* SPDX-License-Identifier: MIT */
/*
 * The driver in a process, controlled by lines on standard input: the commands of commands.c, and
 *
 *   repeat COUNT COMMAND                  run a command so many times
 *   parallel / NUMBER COMMAND / join      run commands of different numbers at the same time
 *
 * With "--follow" a script can be interactive: each line is written when it is complete, and a command's deferred work
 * is done before the next command is read.
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

#define MOST_LANES 8
#define MOST_COMMANDS 256

struct lane {
    char *commands[MOST_COMMANDS];
    int count;
};

static void *run_lane(void *argument)
{
    struct lane *lane = argument;

    for (int i = 0; i < lane->count; i++) {
        host_obey(lane->commands[i]);
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
        host_obey(copy);
    }
}

static void perform(FILE *script, int follow)
{
    static char line[1 << 18];

    while (fgets(line, sizeof(line), script) != NULL) {
        machine_flush();
        if (strcmp(line, "parallel\n") == 0)
            parallel(script);
        else if (strncmp(line, "repeat ", 7) == 0)
            repeat(line + 7);
        else
            host_obey(line);
        if (follow)
            machine_flush();
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
        perform(fmemopen(script, length, "r"), 0);
        reached = host_fallible() >= nth;
        if (write(pipes[1], &reached, 1) != 1)
            exit(74);
        exit(0);
    }
    close(pipes[1]);
    /* A run that was killed has no output and counts as one that reached its failure. */
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
    int follow = count == 2 && strcmp(arguments[1], "--follow") == 0;

    setvbuf(stdout, NULL, follow ? _IOLBF : _IOFBF, 1 << 16);
    if (count == 2 && strcmp(arguments[1], "--sweep") == 0) {
        length = fread(script, 1, sizeof(script), stdin);
        for (unsigned long nth = 1; sweep(script, length, nth); nth++) {
        }
        fflush(stdout);
        return 0;
    }
    perform(stdin, follow);
    return 0;
}
