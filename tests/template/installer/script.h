/* SPDX-License-Identifier: MIT */
/*
 * The lines of the installer's script, and what both firmwares do alike.
 *
 *   key SECONDS   how long it asks for a key; only as the first line
 *   nokey         it asks for none; only as the first line
 *   mark WORDS    write a mark on COM1
 *   raw TEXT      write TEXT on COM1
 *   say TEXT      write TEXT on the screen
 *   trip K N NAME TEXT   if TEXT stands on a read-only medium that it was not started from, say that step K of N failed with it,
 *                 and do nothing for ever: what a mistake in a script of the answer medium does
 *   read MIB      read that much from the medium it was started from
 *   write MIB     write that much to the disk, behind what was written before
 *   install       make the disk bootable
 *   wait MS       do nothing
 *   blink         change the screen for ever
 *   hang          do nothing for ever
 *   reset         restart the machine
 *   panic         tell pvpanic
 *   shutdown      turn the machine off; started again, it goes on behind this line
 */

#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define MARK_PREFIX "HPN-MARK "
#define PVPANIC 0x505
#define COM1 0x3f8
#define SCRIPT_SIZE 8192

/* What each firmware does in its own way. `act_here` does a line that only this firmware has, and says whether it was one. */
static void screen(const char *text);
static void stall(u32 microseconds);
static void sleep_for_ever(void);
static int key_pressed(void);
static void save(u32 line);
static void install(void);
static void write_disk(u32 mib);
static void restart(void);
static void turn_off(void);
static int act_here(const char *line);

static inline void
out_byte(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8
in_byte(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void
serial(const char *text)
{
    for (; *text != 0; text++) {
        while ((in_byte(COM1 + 5) & 0x20) == 0) {
        }
        out_byte(COM1, (u8)*text);
    }
}

static void
mark(const char *words)
{
    serial("\r\n" MARK_PREFIX);
    serial(words);
    serial("\r\n");
}

static void
fail(const char *why)
{
    mark(why);
    sleep_for_ever();
}

static u32
number(const char *text)
{
    u32 value = 0;

    while (*text >= '0' && *text <= '9') {
        value = value * 10 + (u32)(*text++ - '0');
    }
    return value;
}

/* Returns what follows `word` and a space at the start of `line`, or NULL. */
static const char *
after(const char *line, const char *word)
{
    while (*word != 0) {
        if (*line++ != *word++) {
            return 0;
        }
    }
    return *line == ' ' ? line + 1 : *line == 0 ? line : 0;
}

static u32
little(const u8 *bytes)
{
    return bytes[0] | (u32)bytes[1] << 8 | (u32)bytes[2] << 16 | (u32)bytes[3] << 24;
}

/* Returns the entry of SCRIPT.TXT in a directory of an ISO 9660 medium (ECMA-119, section 9.1), or NULL. */
static const u8 *
script_entry(const u8 *directory)
{
    for (u32 place = 0; place < 2048 && directory[place] != 0; place += directory[place]) {
        const u8 *entry = directory + place;
        const char *wanted = "SCRIPT.TXT";
        u32 same = 0;

        while (wanted[same] != 0 && same < entry[32] && entry[33 + same] == (u8)wanted[same]) {
            same++;
        }
        if (wanted[same] == 0) {
            return entry;
        }
    }
    return 0;
}

static int
ask_for_key(u32 seconds)
{
    screen("Press any key to boot from CD or DVD.....");
    for (u32 tenths = 0; tenths < seconds * 10; tenths++) {
        if (key_pressed()) {
            screen("\r\n");
            return 1;
        }
        stall(100000);
    }
    return 0;
}

static void
act(const char *line, u32 next)
{
    const char *rest;

    if ((rest = after(line, "mark")) != 0) {
        mark(rest);
    } else if ((rest = after(line, "raw")) != 0) {
        serial(rest);
    } else if ((rest = after(line, "say")) != 0) {
        screen(rest);
        screen("\r\n");
    } else if ((rest = after(line, "write")) != 0) {
        write_disk(number(rest));
    } else if (after(line, "install") != 0) {
        install();
    } else if ((rest = after(line, "wait")) != 0) {
        stall(number(rest) * 1000);
    } else if (after(line, "blink") != 0) {
        for (;;) {
            screen("*");
            stall(100000);
        }
    } else if (after(line, "hang") != 0) {
        sleep_for_ever();
    } else if (after(line, "reset") != 0) {
        save(next);
        restart();
    } else if (after(line, "panic") != 0) {
        out_byte(PVPANIC, 1);
    } else if (after(line, "shutdown") != 0) {
        save(next);
        turn_off();
    } else if (after(line, "key") == 0 && after(line, "nokey") == 0 && *line != 0 && !act_here(line)) {
        fail("fail 1 1 script has a line that means nothing");
    }
}
