/* SPDX-License-Identifier: MIT */
/*
 * An installer that behaves like Windows Setup as far as the host can see, and does what its script says.
 *
 * Started from its medium it asks for a key and gives up without one. With one it does the lines of SCRIPT.TXT, which
 * lies on whichever read-only medium has it, from the first. `install` copies itself to the disk, so that the firmware
 * starts it from there after a reset; it then goes on behind the line that reset the machine. How far it is stands on the
 * disk and in a firmware variable, and it fails if the two differ: disk and variables must be kept and restored together.
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

#include "efi.h"

#define MARK_PREFIX "HPN-MARK "
#define PVPANIC 0x505
#define COM1 0x3f8
#define PIECE (1u << 20)
#define STATE_BLOCK 1
#define PARTITION_BLOCK 2048
#define PAYLOAD_BLOCK 65536
#define SCRIPT_SIZE 8192

static const guid LOADED_IMAGE = { 0x5b1b31a1, 0x9562, 0x11d2, { 0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b } };
static const guid BLOCK_IO = { 0x964e5b21, 0x6459, 0x11d2, { 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b } };
static const guid OURS = { 0x6d0f3c1e, 0x21a4, 0x4c55, { 0x9a, 0x17, 0x3e, 0x84, 0x5b, 0xd2, 0x60, 0x0f } };
static const u16 PROGRESS[] = { 'I', 'n', 's', 't', 'a', 'l', 'l', 'e', 'r', 0 };

static system_table *firmware;
static block_io *self, *disk, *answers;
static u8 *buffer;
static u64 payload;
static char script[SCRIPT_SIZE + 1];

typedef struct { char magic[8]; u64 line; u64 payload; } progress;

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
screen(const char *text)
{
    u16 wide[2] = { 0, 0 };

    for (; *text != 0; text++) {
        wide[0] = (u8)*text;
        firmware->output->output(firmware->output, wide);
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
    for (;;) {
        firmware->boot->stall(1000000);
    }
}

static void
check(status result, const char *why)
{
    if ((result & EFI_ERROR_BIT) != 0) {
        fail(why);
    }
}

static u64
number(const char *text)
{
    u64 value = 0;

    while (*text >= '0' && *text <= '9') {
        value = value * 10 + (u64)(*text++ - '0');
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

/* Looks for SCRIPT.TXT in the root directory of an ISO 9660 medium (ECMA-119, sections 8.4 and 9.1). */
static int
read_script(block_io *medium)
{
    block_media *media = medium->media;

    if (media->block_size != 2048 || medium->read(medium, media->id, 16, 2048, buffer) != 0 ||
        buffer[1] != 'C' || buffer[2] != 'D') {
        return 0;
    }
    if (medium->read(medium, media->id, little(buffer + 158), 2048, buffer) != 0) {
        return 0;
    }
    for (u32 place = 0; place < 2048 && buffer[place] != 0; place += buffer[place]) {
        const u8 *entry = buffer + place;
        const char *wanted = "SCRIPT.TXT";
        u32 same = 0;

        while (wanted[same] != 0 && same < entry[32] && entry[33 + same] == (u8)wanted[same]) {
            same++;
        }
        if (wanted[same] == 0) {
            u32 size = little(entry + 10) < SCRIPT_SIZE ? little(entry + 10) : SCRIPT_SIZE;

            if (medium->read(medium, media->id, little(entry + 2), (size + 2047) / 2048 * 2048, buffer) != 0) {
                return 0;
            }
            for (u32 i = 0; i < size; i++) {
                script[i] = buffer[i] == '\n' ? 0 : (char)buffer[i];
            }
            script[size] = 0;
            return 1;
        }
    }
    return 0;
}

static void
find_media(void)
{
    u64 count = 0;
    handle *handles = 0;
    int found = 0;

    check(firmware->boot->locate_handles(2, &BLOCK_IO, 0, &count, &handles), "fail 1 1 media no block devices");
    for (u64 i = 0; i < count; i++) {
        block_io *each = 0;

        if (firmware->boot->handle_protocol(handles[i], &BLOCK_IO, (void **)&each) != 0 || !each->media->present ||
            each->media->logical_partition) {
            continue;
        }
        if (each->media->read_only) {
            if (read_script(each)) {
                found = 1;
            } else if (each->media->block_size == 2048) {
                answers = each;
            }
        } else {
            disk = each;
        }
    }
    if (!found) {
        fail("fail 1 1 media no SCRIPT.TXT");
    }
    if (disk == 0) {
        fail("fail 1 1 media no disk");
    }
}

static void
save(u64 line)
{
    progress *state = (progress *)buffer;

    for (u32 i = 0; i < 512; i++) {
        buffer[i] = 0;
    }
    for (u32 i = 0; i < 8; i++) {
        state->magic[i] = "INSTALL"[i];
    }
    state->line = line;
    state->payload = payload;
    check(disk->write(disk, disk->media->id, STATE_BLOCK, 512, buffer), "fail 1 1 disk cannot save the progress");
    check(disk->flush(disk), "fail 1 1 disk cannot flush");
    check(firmware->runtime->set_variable(PROGRESS, &OURS, 7, sizeof line, &line), "fail 1 1 nvram cannot save");
}

static u64
load(void)
{
    progress *state = (progress *)buffer;
    u64 kept = 0, size = sizeof kept;

    check(disk->read(disk, disk->media->id, STATE_BLOCK, 512, buffer), "fail 1 1 disk cannot read the progress");
    payload = state->payload;
    if (firmware->runtime->get_variable(PROGRESS, &OURS, 0, &size, &kept) != 0 || kept != state->line) {
        fail("fail 1 1 state disk and firmware variables are of different times");
    }
    return kept;
}

/* The size that the file system itself states: firmware counts the partition's end in blocks of another size. */
/* Says whether `text` stands anywhere on `medium`. */
static int
holds(block_io *medium, const char *text)
{
    block_media *media = medium->media;
    u64 blocks = PIECE / media->block_size, length = 0;

    while (text[length] != 0) {
        length++;
    }
    /* Pieces overlap by a block, so that a text that a piece cuts is whole in the next. */
    for (u64 at = 0; at <= media->last_block; at += blocks - 1) {
        u64 left = media->last_block + 1 - at, bytes = (left < blocks ? left : blocks) * media->block_size;

        check(medium->read(medium, media->id, at, bytes, buffer), "fail 1 1 media cannot read the answers");
        for (u64 i = 0; i + length <= bytes; i++) {
            u64 same = 0;

            while (same < length && buffer[i + same] == (u8)text[same]) {
                same++;
            }
            if (same == length) {
                return 1;
            }
        }
        if (left <= blocks) {
            break;
        }
    }
    return 0;
}

static void
trip(const char *words)
{
    const char *text = words;

    for (u32 spaces = 0; spaces < 3 && *text != 0; text++) {
        spaces += *text == ' ';
    }
    if (*text == 0 || answers == 0 || !holds(answers, text)) {
        return;
    }
    serial("\r\n" MARK_PREFIX "fail ");
    serial(words);
    serial("\r\n");
    mark("logs");
    for (;;) {
        firmware->boot->stall(1000000);
    }
}

static u64
partition_size(void)
{
    check(self->read(self, self->media->id, 0, 2048, buffer), "fail 1 1 medium cannot read");
    return (buffer[19] | (u64)buffer[20] << 8) * 512;
}

/* Copies the partition it was started from behind a partition table with that one EFI system partition. */
static void
install(void)
{
    u64 bytes = partition_size(), done = 0;
    u8 *entry = buffer + 446;

    for (u32 i = 0; i < 512; i++) {
        buffer[i] = 0;
    }
    entry[4] = 0xef;
    for (u32 i = 0; i < 4; i++) {
        entry[8 + i] = (u8)(PARTITION_BLOCK >> (8 * i));
        entry[12 + i] = (u8)((bytes / 512) >> (8 * i));
    }
    buffer[510] = 0x55;
    buffer[511] = 0xaa;
    check(disk->write(disk, disk->media->id, 0, 512, buffer), "fail 1 1 disk cannot write");
    while (done < bytes) {
        u64 piece = bytes - done < PIECE ? bytes - done : PIECE;

        check(self->read(self, self->media->id, done / self->media->block_size, piece, buffer), "fail 1 1 read failed");
        check(disk->write(disk, disk->media->id, PARTITION_BLOCK + done / 512, piece, buffer), "fail 1 1 write failed");
        done += piece;
    }
}

static void
read_medium(u64 mib)
{
    for (u64 done = 0; done < mib; done++) {
        check(self->read(self, self->media->id, 0, PIECE, buffer), "fail 1 1 medium cannot read");
    }
}

static void
write_disk(u64 mib)
{
    for (u32 i = 0; i < PIECE; i++) {
        buffer[i] = (u8)(i * 7 + 1);
    }
    for (u64 i = 0; i < mib; i++) {
        check(disk->write(disk, disk->media->id, PAYLOAD_BLOCK + payload / 512, PIECE, buffer), "fail 1 1 disk cannot write");
        payload += PIECE;
    }
}

static int
ask_for_key(u64 seconds)
{
    input_key key;

    screen("Press any key to boot from CD or DVD.....");
    for (u64 tenths = 0; tenths < seconds * 10; tenths++) {
        if (firmware->input->read_key(firmware->input, &key) == 0) {
            screen("\r\n");
            return 1;
        }
        firmware->boot->stall(100000);
    }
    return 0;
}

static void
act(const char *line, u64 next)
{
    const char *rest;

    if ((rest = after(line, "mark")) != 0) {
        mark(rest);
    } else if ((rest = after(line, "raw")) != 0) {
        serial(rest);
    } else if ((rest = after(line, "say")) != 0) {
        screen(rest);
        screen("\r\n");
    } else if ((rest = after(line, "trip")) != 0) {
        trip(rest);
    } else if ((rest = after(line, "read")) != 0) {
        read_medium(number(rest));
    } else if ((rest = after(line, "write")) != 0) {
        write_disk(number(rest));
    } else if (after(line, "install") != 0) {
        install();
    } else if ((rest = after(line, "wait")) != 0) {
        firmware->boot->stall(number(rest) * 1000);
    } else if (after(line, "blink") != 0) {
        for (;;) {
            screen("*");
            firmware->boot->stall(100000);
        }
    } else if (after(line, "hang") != 0) {
        for (;;) {
            firmware->boot->stall(1000000);
        }
    } else if (after(line, "reset") != 0) {
        save(next);
        firmware->runtime->reset(0, 0, 0, 0);
    } else if (after(line, "panic") != 0) {
        out_byte(PVPANIC, 1);
    } else if (after(line, "shutdown") != 0) {
        save(next);
        firmware->runtime->reset(2, 0, 0, 0);
    } else if (after(line, "key") == 0 && after(line, "nokey") == 0 && *line != 0) {
        fail("fail 1 1 script has a line that means nothing");
    }
}

status EFIAPI
efi_main(handle image, system_table *table)
{
    loaded_image *loaded = 0;
    u64 line = 0, memory = 0;
    const char *place = script, *seconds;

    firmware = table;
    firmware->boot->set_watchdog(0, 0, 0, 0);
    firmware->boot->handle_protocol(image, &LOADED_IMAGE, (void **)&loaded);
    check(firmware->boot->handle_protocol(loaded->device, &BLOCK_IO, (void **)&self), "fail 1 1 medium unknown");
    check(firmware->boot->allocate_pages(0, 2, PIECE >> 12, &memory), "fail 1 1 memory none");
    buffer = (u8 *)memory;
    find_media();
    if (self->media->read_only) {
        seconds = after(script, "key");
        if (after(script, "nokey") == 0 && !ask_for_key(seconds != 0 ? number(seconds) : 5)) {
            return EFI_ABORTED;
        }
    } else {
        line = load();
    }
    for (u64 at = 0; place < script + SCRIPT_SIZE && (*place != 0 || place == script || at < line); at++) {
        if (at >= line) {
            act(place, at + 1);
        }
        while (*place != 0) {
            place++;
        }
        place++;
    }
    fail("fail 1 1 script has come to its end");
    return 0;
}
