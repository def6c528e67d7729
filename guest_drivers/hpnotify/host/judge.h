/* SPDX-License-Identifier: MIT */
/* The invariants of every run, for any order of its threads: see judge.c. */
#ifndef HOST_JUDGE_H
#define HOST_JUDGE_H

void judge_begin(void);

/* One line of a run, without its newline. Returns what is wrong with it, or NULL. */
const char *judge_line(const char *line);

/* The run is over. Returns what is wrong with all of it, or NULL. */
const char *judge_end(void);

/* Equal for runs with the same events in the same order, whatever the times, threads and addresses. */
unsigned long long judge_digest(void);

#endif
