/* SPDX-License-Identifier: MIT */
/*
 * The installer of setup.c for a machine that starts in a fraction of a second: SeaBIOS loads it, and it uses interrupts
 * 10h, 13h, 15h and 16h (Phoenix: Enhanced Disk Drive Specification 3.0, for the extensions of 13h).
 *
 * Its lines are those of setup.c except `trip` and `read`. There are no firmware variables to keep: how far it is stands on
 * the disk alone. The first sector is both its El Torito image's and a disk's boot sector: firmware loads the whole image of
 * a medium, and of a disk that sector alone, which loads the others (PROGRAM_SECTORS, as in scripted_medium.py).
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define MARK_PREFIX "HPN-MARK "
#define PVPANIC 0x505
#define COM1 0x3f8
#define RESET_CONTROL 0xcf9
#define PM1_CONTROL 0x604 /* where SeaBIOS puts it on q35 */
#define SLEEP_ENABLE 0x2000
#define FIRST_CD 0xe0
#define CDS 4
#define PROGRAM 0x7c00
#define PROGRAM_SECTORS 32
#define STATE_SECTOR 1024
#define PAYLOAD_SECTOR 65536
#define PIECE_SECTORS 64
#define SCRIPT_SIZE 8192
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
    for (; *text != 0; text++) {
        u32 shown = 0x0e00 | (u8)*text;

        __asm__ volatile("int $0x10" : "+a"(shown) : "b"(7) : "ecx", "edx", "cc", "memory");
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

static void
fail(const char *why)
{
    mark(why);
    sleep_for_ever();
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

/* Looks for SCRIPT.TXT in the root directory of an ISO 9660 medium (ECMA-119, sections 8.4 and 9.1). */
static int
read_script(u8 drive)
{
    if (transfer(0x42, drive, 16, 1, buffer) != 0 || buffer[1] != 'C' || buffer[2] != 'D' ||
        transfer(0x42, drive, little(buffer + 158), 1, buffer) != 0) {
        return 0;
    }
    for (u32 place = 0; place < BLOCK && buffer[place] != 0; place += buffer[place]) {
        const u8 *entry = buffer + place;
        const char *wanted = "SCRIPT.TXT";
        u32 same = 0, size = little(entry + 10);

        while (wanted[same] != 0 && same < entry[32] && entry[33 + same] == (u8)wanted[same]) {
            same++;
        }
        if (wanted[same] == 0) {
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
    }
    return 0;
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

static int
ask_for_key(u32 seconds)
{
    screen("Press any key to boot from CD or DVD.....");
    for (u32 tenths = 0; tenths < seconds * 10; tenths++) {
        u32 key = 0x0100;
        u8 none;

        __asm__ volatile("int $0x16; setz %1" : "+a"(key), "=q"(none) : : "ebx", "ecx", "cc", "memory");
        if (!none) {
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
        out_byte(RESET_CONTROL, 6);
        sleep_for_ever();
    } else if (after(line, "panic") != 0) {
        out_byte(PVPANIC, 1);
    } else if (after(line, "shutdown") != 0) {
        save(next);
        __asm__ volatile("outw %0, %1" : : "a"((u16)SLEEP_ENABLE), "d"((u16)PM1_CONTROL));
        sleep_for_ever();
    } else if (after(line, "key") == 0 && after(line, "nokey") == 0 && *line != 0) {
        fail("fail 1 1 script has a line that means nothing");
    }
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
