/* SPDX-License-Identifier: MIT */
/* Threads that take turns: one runs, and who is next is asked for at every point where it matters. */
#ifndef HOST_FIBERS_H
#define HOST_FIBERS_H

#define MOST_CHOICES 16

/*
 * Given by whoever runs the fibers: which of `count` (at least 2) goes on. Of those that can, 0 is the one that ran
 * last if `preempts` is set, and any other choice takes its turn away; else the one that ran last cannot go on.
 */
unsigned fibers_choose(unsigned count, int preempts);

/* Given as well: nobody can go on, or nobody ever ends. Does not return. */
__attribute__((noreturn)) void fibers_stuck(const char *why);

/* Begins anew: only the caller runs, at time 0. */
void fibers_begin(void);

/* Runs function(context) in a fiber of its own. */
void fibers_run(void (*function)(void *context), void *context);

/* Waits until *count is 0. */
void fibers_wait(const unsigned *count);

#endif
