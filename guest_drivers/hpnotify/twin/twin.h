/* SPDX-License-Identifier: MIT */
/* The parts of the twin's Linux side. */
#ifndef TWIN_H
#define TWIN_H

int twin_machine_begin(void);
void twin_machine_end(void);

int twin_processors_begin(unsigned int group_size);
void twin_processors_end(void);

int twin_memory_begin(void);
void twin_memory_end(void);

int twin_debugger_begin(void);
void twin_debugger_end(void);
void twin_debugger_print(const char *text);

int twin_device_begin(void);
void twin_device_end(void);

#endif
