/* SPDX-License-Identifier: MIT */
/*
 * An installer that behaves like Windows Setup as far as the host can see, and does what its script (script.h) says.
 *
 * Started from its medium it asks for a key and gives up without one. With one it does the lines of SCRIPT.TXT, which
 * lies on whichever read-only medium has it, from the first. `install` copies itself to the disk, so that the firmware
 * starts it from there after a reset; it then goes on behind the line that reset the machine. How far it is stands on the
 * disk and in a firmware variable, and it fails if the two differ: disk and variables must be kept and restored together.
 */

#include "efi.h"

#define PIECE (1u << 20)
#define STATE_BLOCK 1
#define PARTITION_BLOCK 2048
#define PAYLOAD_BLOCK 65536
#define TICK 10000u /* Microseconds from one interrupt of the timer to the next: EDK II, DEFAULT_TIMER_TICK_DURATION. */

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
stall(u32 microseconds)
{
    /* Stall() would keep the processor busy. Between two interrupts of the firmware's timer it may sleep. */
    for (u32 slept = 0; slept < microseconds; slept += TICK) {
        __asm__ volatile("sti; hlt");
    }
}

static void
sleep_for_ever(void)
{
    for (;;) {
        stall(1000000);
    }
}

static int
key_pressed(void)
{
    input_key key;

    return firmware->input->read_key(firmware->input, &key) == 0;
}

static void
check(status result, const char *why)
{
    if ((result & EFI_ERROR_BIT) != 0) {
        fail(why);
    }
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
    const u8 *entry = script_entry(buffer);

    if (entry == 0) {
        return 0;
    }
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
save(u32 line)
{
    progress *state = (progress *)buffer;
    u64 kept = line;

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
    check(firmware->runtime->set_variable(PROGRESS, &OURS, 7, sizeof kept, &kept), "fail 1 1 nvram cannot save");
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
    sleep_for_ever();
}

/* The size that the file system itself states: firmware counts the partition's end in blocks of another size. */
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
write_disk(u32 mib)
{
    for (u32 i = 0; i < PIECE; i++) {
        buffer[i] = (u8)(i * 7 + 1);
    }
    for (u32 i = 0; i < mib; i++) {
        check(disk->write(disk, disk->media->id, PAYLOAD_BLOCK + payload / 512, PIECE, buffer), "fail 1 1 disk cannot write");
        payload += PIECE;
    }
}

static void
restart(void)
{
    firmware->runtime->reset(0, 0, 0, 0);
}

static void
turn_off(void)
{
    firmware->runtime->reset(2, 0, 0, 0);
}

static int
act_here(const char *line)
{
    const char *rest;

    if ((rest = after(line, "trip")) != 0) {
        trip(rest);
    } else if ((rest = after(line, "read")) != 0) {
        read_medium(number(rest));
    }
    return rest != 0;
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
            act(place, (u32)at + 1);
        }
        while (*place != 0) {
            place++;
        }
        place++;
    }
    fail("fail 1 1 script has come to its end");
    return 0;
}
