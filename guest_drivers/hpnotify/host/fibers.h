/* SPDX-License-Identifier: MIT */
/* Threads that take turns: one runs, and the next one is chosen at every point where it matters. */
#ifndef HOST_FIBERS_H
#define HOST_FIBERS_H

#define MOST_CHOICES 16

/*
 * Provided by the program: chooses which of `count` (at least 2) runnable fibers runs. If `preempts` is set, 0 is the
 * one that ran last, and any other choice preempts it; otherwise the one that ran last cannot run.
 */
unsigned fibers_choose(unsigned count, int preempts);

/* Also provided: called when no fiber can run, or none ever ends. Does not return. */
__attribute__((noreturn)) void fibers_stuck(const char *why);

/* Restarts: only the caller runs, at time 0. */
void fibers_begin(void);

/* Runs function(context) in a new fiber. */
void fibers_run(void (*function)(void *context), void *context);

/* Ends the run: waits until all that was begun and deferred has ended, and frees what the layer keeps. */
void fibers_end(void);

/* Waits until *count is 0. */
void fibers_wait(const unsigned *count);

#endif
