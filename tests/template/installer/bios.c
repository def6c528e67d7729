/* SPDX-License-Identifier: MIT */
/*
 * The installer of setup.c for a machine that starts in a fraction of a second: SeaBIOS loads it, and it uses interrupts
 * 10h, 13h, 15h and 16h (Phoenix: Enhanced Disk Drive Specification 3.0, for the extensions of 13h).
 *
 * Its lines are those of script.h except `trip` and `read`. There are no firmware variables to keep: how far it is stands on
 * the disk alone. The first sector is both its El Torito image's and a disk's boot sector: firmware loads the whole image of
 * a medium, and of a disk that sector alone, which loads the others (PROGRAM_SECTORS, as in scripted_medium.py).
 */

#include "script.h"

#define RESET_CONTROL 0xcf9
#define PM1_CONTROL 0x604 /* where SeaBIOS puts it on q35 */
#define SLEEP_ENABLE 0x2000
#define FIRST_CD 0xe0
#define CDS 4
#define PROGRAM 0x7c00
#define PROGRAM_SECTORS 32
#define STATE_SECTOR 1024
#define PAYLOAD_SECTOR 65536
#define BLOCK 2048

__asm__(
    ".section .boot, \"ax\"\n"
    ".code16\n"
    "    cli\n"
    "    xor %ax, %ax\n"
    "    mov %ax, %ds\n"
    "    mov %ax, %es\n"
    "    mov %ax, %ss\n"
    "    movl $0x7c00, %esp\n"
    "    sti\n"
    "    cld\n"
    "    ljmp $0, $1f\n"
    "1:  cmp $0xe0, %dl\n"
    "    jae 2f\n"
    "    mov $others, %si\n"
    "    mov $0x42, %ah\n"
    "    int $0x13\n"
    "    jc 3f\n"
    "2:  movzbl %dl, %eax\n"
    "    calll started\n"
    "3:  hlt\n"
    "    jmp 3b\n"
    "others: .byte 16, 0\n"
    "    .word 31, 0x7e00, 0\n"
    "    .quad 1\n"
    "    .org 510\n"
    "    .word 0xaa55\n"
    ".text\n"
    ".code16gcc\n");

typedef struct { u8 size, zero; u16 sectors, offset, segment; u64 first; } packet;
typedef struct { char magic[8]; u32 line, payload; } progress;

/* The memory behind the loaded sectors, of which the firmware knows nothing. */
#define buffer ((u8 *)0xc000)
#define script ((char *)0xc800)
#define state (*(progress *)0xe900)
#define request (*(packet *)0xea00)
#define own_drive (*(u8 *)0xeb00)
#define disk_drive 0x80

static void
screen(const char *text)
{
    for (; *text != 0; text++) {
        u32 shown = 0x0e00 | (u8)*text;

        __asm__ volatile("int $0x10" : "+a"(shown) : "b"(7) : "ecx", "edx", "cc", "memory");
    }
}

static void
sleep_for_ever(void)
{
    for (;;) {
        __asm__ volatile("sti; hlt");
    }
}

static void
stall(u32 microseconds)
{
    u32 function = 0x8600;

    __asm__ volatile("int $0x15" : "+a"(function) : "c"(microseconds >> 16), "d"(microseconds & 0xffff) : "ebx", "cc", "memory");
}

static int
key_pressed(void)
{
    u32 key = 0x0100;
    u8 none;

    __asm__ volatile("int $0x16; setz %1" : "+a"(key), "=q"(none) : : "ebx", "ecx", "cc", "memory");
    return !none;
}

/* Reads (0x42) or writes (0x43) through the extensions of interrupt 13h; returns 0 for success. */
static int
transfer(u32 function, u8 drive, u32 first, u16 sectors, const void *place)
{
    u8 failed;
    u32 result = function << 8;

    request = (packet){ .size = 16, .sectors = sectors, .offset = (u16)(u32)place, .first = first };
    __asm__ volatile("int $0x13; setc %1" : "+a"(result), "=q"(failed) : "d"(drive), "S"(&request) : "ecx", "cc", "memory");
    return failed;
}

/* Looks for SCRIPT.TXT in the root directory of an ISO 9660 medium (ECMA-119, sections 8.4 and 9.1). */
static int
read_script(u8 drive)
{
    if (transfer(0x42, drive, 16, 1, buffer) != 0 || buffer[1] != 'C' || buffer[2] != 'D' ||
        transfer(0x42, drive, little(buffer + 158), 1, buffer) != 0) {
        return 0;
    }
    const u8 *entry = script_entry(buffer);
    u32 size = entry != 0 ? little(entry + 10) : SCRIPT_SIZE;

    if (size >= SCRIPT_SIZE || transfer(0x42, drive, little(entry + 2), (u16)((size + BLOCK - 1) / BLOCK), script) != 0) {
        return 0;
    }
    for (u32 i = 0; i < size; i++) {
        script[i] = script[i] == '\n' ? 0 : script[i];
    }
    script[size] = 0;
    script[size + 1] = 0;
    return 1;
}

static void
find_script(void)
{
    for (u8 cd = 0; cd < CDS; cd++) {
        if (read_script((u8)(FIRST_CD + cd))) {
            return;
        }
    }
    fail("fail 1 1 media no SCRIPT.TXT");
}

static void
save(u32 line)
{
    for (u32 i = 0; i < sizeof state.magic; i++) {
        state.magic[i] = "INSTALL"[i];
    }
    state.line = line;
    if (transfer(0x43, disk_drive, STATE_SECTOR, 1, &state) != 0) {
        fail("fail 1 1 disk cannot save the progress");
    }
}

static u32
load(void)
{
    if (transfer(0x42, disk_drive, STATE_SECTOR, 1, buffer) != 0 || buffer[0] != 'I') {
        fail("fail 1 1 disk cannot read the progress");
    }
    state = *(progress *)buffer;
    return state.line;
}

/* Makes the disk bootable: this program begins with a boot sector, and changes nothing of itself. */
static void
install(void)
{
    if (transfer(0x43, disk_drive, 0, PROGRAM_SECTORS, (void *)PROGRAM) != 0) {
        fail("fail 1 1 disk cannot write");
    }
}

/* Writes copies of this program. */
static void
write_disk(u32 mib)
{
    for (u32 left = mib * 2048; left != 0; left -= PROGRAM_SECTORS) {
        if (transfer(0x43, disk_drive, PAYLOAD_SECTOR + state.payload, PROGRAM_SECTORS, (void *)PROGRAM) != 0) {
            fail("fail 1 1 disk cannot write");
        }
        state.payload += PROGRAM_SECTORS;
    }
}

static void
restart(void)
{
    out_byte(RESET_CONTROL, 6);
    sleep_for_ever();
}

static void
turn_off(void)
{
    __asm__ volatile("outw %0, %1" : : "a"((u16)SLEEP_ENABLE), "d"((u16)PM1_CONTROL));
    sleep_for_ever();
}

static int
act_here(const char *line)
{
    (void)line;
    return 0;
}

__attribute__((used)) void
started(u8 drive)
{
    u32 line = 0, at = 0;
    const char *place = script, *seconds;

    own_drive = drive;
    state.payload = 0;
    find_script();
    if (own_drive >= FIRST_CD) {
        seconds = after(script, "key");
        if (after(script, "nokey") == 0 && !ask_for_key(seconds != 0 ? number(seconds) : 5)) {
            fail("fail 1 1 medium nobody pressed a key");
        }
    } else {
        line = load();
    }
    for (; *place != 0; at++) {
        if (at >= line) {
            act(place, at + 1);
        }
        while (*place != 0) {
            place++;
        }
        place++;
    }
    fail("fail 1 1 script has come to its end");
}
