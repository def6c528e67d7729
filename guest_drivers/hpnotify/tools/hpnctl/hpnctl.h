/* SPDX-License-Identifier: MIT */
/*
 * hpnctl: talks to a loaded hpnotify from user mode, on Windows and under Wine. It needs no C library: everything comes
 * from kernel32, user32, advapi32 and shell32, which every Windows has.
 */
#ifndef HPNCTL_H
#define HPNCTL_H

#include <windows.h>
#include <winioctl.h>

#include "public.h"

/* Exit codes. */
#define DONE 0
#define REFUSED 1
#define USAGE 64
#define UNREACHABLE 69

/* Text that grows in a buffer and is written out whole lines at a time. */
struct text {
    char bytes[16384];
    unsigned length;
};

void add_text(struct text *text, const char *more);
void add_bytes(struct text *text, const char *more, unsigned length);
void add_decimal(struct text *text, ULONG64 value);
void add_hexadecimal(struct text *text, ULONG64 value, unsigned digits);
/* UTF-16 as UTF-8; everything except plain terminal characters as %XX. */
void add_wide(struct text *text, const WCHAR *more);
/* The inside of a JSON string. */
void add_json(struct text *text, const char *more, unsigned length);

/* Writes and empties the text; ends the program if there is no reader any more. */
void put(struct text *text);

/* "hpnctl: MESSAGE" and, with a nonzero Windows error code, its text on standard error. Returns code. */
int complain(int code, const char *message, const char *name, DWORD error);

/* Reads a whole number, decimal or 0x…; returns 0 unless it is one and at most `most`. */
int number(const WCHAR *word, ULONG64 most, ULONG64 *value);

/* device.c: \\.\NAME. Both report what went wrong and return an exit code. */
int device_open(const WCHAR *name, HANDLE *device);
int device_ask(HANDLE device, DWORD code, void *input, DWORD input_bytes, void *output, DWORD output_bytes, DWORD *got);

/*
 * record.c: a line of the ring as one JSON object, as harness/history/driver.py reads it. Returns 0 if it is not a
 * line of the driver.
 */
int record_json(struct text *text, const char *line, unsigned length);

/* watch.c */
int watch(int json, DWORD seconds);

/* machine.c */
int machine(void);

/* trace.c */
int trace(const WCHAR *name, int flush, int stop);

/* The boot nonce that the driver left in the registry as 16 digits, or "" if there is none. */
void boot_nonce(char digits[17]);

#endif
