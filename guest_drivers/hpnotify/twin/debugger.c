// SPDX-License-Identifier: MIT
/*
 * The kernel debugger's serial port, from the target's side: driver output is sent in packets of the KD protocol, and
 * the processor stops until each is acknowledged, as on a Windows that is being debugged. Without a debugger it gives
 * up after some tries and prints nothing more. A panic becomes an exception, which waits forever. (ReactOS:
 * sdk/include/reactos/windbgkd.h, drivers/base/kdcom/kddll.c. See docs/dbgprint.md.)
 *
 * Unlike Windows it stops only the processors that print, not all.
 */
#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/panic_notifier.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#if __has_include(<linux/unaligned.h>)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

#include "machine.h"
#include "twin.h"

#define DATA_LEADER 0x30303030
#define CONTROL_LEADER 0x69696969
#define TRAILER 0xAA
#define FIRST_NUMBER 0x80800000
#define SYNC 0x800

enum packet { MANIPULATE = 2, DEBUG_IO = 3, ACKNOWLEDGE = 4, RESEND = 5, RESET = 6, STATE_CHANGE = 7 };

#define PRINT 0x3230
#define EXCEPTION 0x3030
#define LOAD_SYMBOLS 0x3031
#define BREAKPOINT 0x80000003

#define STATE_BYTES 240
#define MOST_BYTES 1024
#define LONGEST_PAYLOAD 4000

/* A debugger never connects to a target that repeats within 0.6 s (Microsoft's engine, recorded). */
#define PATIENCE_NS NSEC_PER_SEC
#define TRIES 10

/* Registers of a 16550. */
#define INTERRUPTS 1
#define FIFO 2
#define LINE 3
#define MODEM 4
#define STATUS 5
#define STATUS_RECEIVED 0x01
#define STATUS_EMPTY 0x20

static unsigned int kd;
module_param(kd, uint, 0400);
MODULE_PARM_DESC(kd, "I/O port of the serial port that a kernel debugger listens on; 0 for none");

static DEFINE_RAW_SPINLOCK(lock);
static bool present;
static u32 number;
static u32 awaited;
static u8 message[MOST_BYTES];

enum result { RECEIVED, AGAIN, TIMEOUT };

static bool get(u8 *byte)
{
	u64 begin = ktime_get_mono_fast_ns();

	while (!(inb(kd + STATUS) & STATUS_RECEIVED)) {
		if (ktime_get_mono_fast_ns() - begin > PATIENCE_NS)
			return false;
		cpu_relax();
	}
	*byte = inb(kd);
	return true;
}

static bool get_bytes(u8 *bytes, unsigned int count)
{
	while (count--)
		if (!get(bytes++))
			return false;
	return true;
}

static void put(const u8 *bytes, unsigned int count)
{
	while (count--) {
		while (!(inb(kd + STATUS) & STATUS_EMPTY))
			cpu_relax();
		outb(*bytes++, kd);
	}
}

static void put_packet(u32 leader, u16 kind, u32 id, const u8 *payload, u16 bytes)
{
	static const u8 trailer = TRAILER;
	u8 header[16];
	u32 sum = 0;
	unsigned int at;

	for (at = 0; at < bytes; at++)
		sum += payload[at];
	put_unaligned_le32(leader, header);
	put_unaligned_le16(kind, header + 4);
	put_unaligned_le16(bytes, header + 6);
	put_unaligned_le32(id, header + 8);
	put_unaligned_le32(sum, header + 12);
	put(header, sizeof(header));
	if (leader == DATA_LEADER) {
		put(payload, bytes);
		put(&trailer, 1);
	}
}

static void put_control(u16 kind, u32 id)
{
	put_packet(CONTROL_LEADER, kind, id, NULL, 0);
}

/* Four equal bytes begin a packet; the rest of its header follows. */
static bool get_header(u32 *leader, u16 *kind, u16 *bytes, u32 *id, u32 *sum)
{
	unsigned int run = 0;
	u8 first = 0, byte, rest[12];

	while (run < 4) {
		if (!get(&byte))
			return false;
		if (byte != 0x30 && byte != 0x69) {
			run = 0;
		} else if (run && byte == first) {
			run++;
		} else {
			first = byte;
			run = 1;
		}
	}
	if (!get_bytes(rest, sizeof(rest)))
		return false;
	*leader = first == 0x30 ? DATA_LEADER : CONTROL_LEADER;
	*kind = get_unaligned_le16(rest);
	*bytes = get_unaligned_le16(rest + 2);
	*id = get_unaligned_le32(rest + 4);
	*sum = get_unaligned_le32(rest + 8);
	return true;
}

/* Read the payload of a data packet and discard it: only its completeness matters. */
static bool skip_payload(u16 bytes, u32 sum)
{
	u32 seen = 0;
	u8 byte;

	if (bytes > LONGEST_PAYLOAD)
		return false;
	while (bytes--) {
		if (!get(&byte))
			return false;
		seen += byte;
	}
	return get(&byte) && byte == TRAILER && seen == sum;
}

/* Wait for one kind of packet. A debugger that restarts is followed, and the last packet must be sent again. */
static enum result receive(u16 wanted)
{
	u32 leader, id, sum;
	u16 kind, bytes;

	while (get_header(&leader, &kind, &bytes, &id, &sum)) {
		if (leader == CONTROL_LEADER) {
			if (kind == RESEND)
				return AGAIN;
			if (kind == RESET) {
				number = awaited = FIRST_NUMBER;
				put_control(RESET, 0);
				return AGAIN;
			}
			if (kind == ACKNOWLEDGE && wanted == ACKNOWLEDGE && id == (number & ~SYNC)) {
				number = (number & ~SYNC) ^ 1;
				return RECEIVED;
			}
			continue;
		}
		if (!skip_payload(bytes, sum)) {
			put_control(RESEND, 0);
			continue;
		}
		if (wanted == ACKNOWLEDGE) {
			/* Any answer shows that the question arrived, even a stale one: kdcom does not check its number. */
			put_control(RESEND, 0);
			number = (number & ~SYNC) ^ 1;
			return RECEIVED;
		}
		put_control(ACKNOWLEDGE, id);
		if (kind == wanted && id == awaited) {
			awaited ^= 1;
			return RECEIVED;
		}
	}
	return TIMEOUT;
}

static bool send(u16 kind, const u8 *payload, u16 bytes, bool for_ever)
{
	unsigned int left = TRIES;

	while (left) {
		put_packet(DATA_LEADER, kind, number, payload, bytes);
		switch (receive(ACKNOWLEDGE)) {
		case RECEIVED:
			return true;
		case AGAIN:
			break;
		case TIMEOUT:
			left -= !for_ever;
			break;
		}
	}
	present = false;
	return false;
}

/* Send a message that the debugger answers with "continue", and wait for the answer. */
static void ask(const u8 *payload, u16 bytes, bool for_ever)
{
	enum result result = AGAIN;
	unsigned int left = TRIES;

	while (left) {
		if (result == AGAIN && !send(STATE_CHANGE, payload, bytes, for_ever))
			return;
		result = receive(MANIPULATE);
		if (result == RECEIVED)
			return;
		left -= result == TIMEOUT && !for_ever;
	}
	present = false;
}

/* The head of a state change, in the message that is then completed and sent. */
static void begin_state(u32 state)
{
	memset(message, 0, STATE_BYTES);
	put_unaligned_le32(state, message);
	put_unaligned_le16(6, message + 4);
	put_unaligned_le16(raw_smp_processor_id(), message + 6);
	put_unaligned_le32(num_online_cpus(), message + 8);
}

static void say(const char *text)
{
	u16 bytes = strnlen(text, 512);

	put_unaligned_le32(PRINT, message);
	put_unaligned_le16(6, message + 4);
	put_unaligned_le16(raw_smp_processor_id(), message + 6);
	put_unaligned_le32(bytes, message + 8);
	put_unaligned_le32(0, message + 12);
	memcpy(message + 16, text, bytes);
	send(DEBUG_IO, message, 16 + bytes, false);
}

void twin_debugger_print(const char *text)
{
	unsigned long flags;

	if (!kd)
		return;
	raw_spin_lock_irqsave(&lock, flags);
	if (present)
		say(text);
	raw_spin_unlock_irqrestore(&lock, flags);
}

/* MANUALLY_INITIATED_CRASH; the address is where this kernel panicked from, as far as it can be told here. */
static int panicked(struct notifier_block *block, unsigned long event, void *words)
{
	/* The other processors are stopped, so the holder of the lock will never release it. */
	if (!present)
		return NOTIFY_DONE;
	say("\n*** Fatal System Error: 0x000000e2\n                       (0x0,0x0,0x0,0x0)\n");
	begin_state(EXCEPTION);
	put_unaligned_le64((unsigned long)__builtin_return_address(0), message + 24);
	put_unaligned_le32(BREAKPOINT, message + 32);
	put_unaligned_le64((unsigned long)__builtin_return_address(0), message + 48);
	put_unaligned_le32(1, message + 184);
	ask(message, STATE_BYTES, true);
	return NOTIFY_DONE;
}

static struct notifier_block on_panic = { .notifier_call = panicked, .priority = INT_MAX };

int twin_debugger_begin(void)
{
	static const char path[] = "\\SystemRoot\\system32\\drivers\\hpnotify.sys";
	unsigned long flags;

	if (!kd)
		return 0;
	if (kd > 0xFFF8) {
		pr_err("hpnotify: %#x is no I/O port of a serial port\n", kd);
		return -EINVAL;
	}
	outb(0, kd + INTERRUPTS);
	outb(0x80, kd + LINE);
	outb(1, kd);
	outb(0, kd + INTERRUPTS);
	outb(3, kd + LINE);
	outb(7, kd + FIFO);
	outb(3, kd + MODEM);
	atomic_notifier_chain_register(&panic_notifier_list, &on_panic);

	raw_spin_lock_irqsave(&lock, flags);
	present = true;
	number = FIRST_NUMBER | SYNC;
	awaited = FIRST_NUMBER;
	begin_state(LOAD_SYMBOLS);
	put_unaligned_le32(sizeof(path), message + 32);
	memcpy(message + STATE_BYTES, path, sizeof(path));
	ask(message, STATE_BYTES + sizeof(path), false);
	raw_spin_unlock_irqrestore(&lock, flags);
	if (!present)
		pr_warn("hpnotify: no debugger answers at port %#x\n", kd);
	return 0;
}

void twin_debugger_end(void)
{
	if (kd)
		atomic_notifier_chain_unregister(&panic_notifier_list, &on_panic);
}
