// SPDX-License-Identifier: MIT
/*
 * The twin has no event tracing session: with a module option, events that a driver passes to EtwWrite are written as
 * lines to the debug port. One event is one line (harness/capture/live/event_lines.py):
 *
 *   EVT1 n=7 boot=<16 digits> provider=<32 digits> id=1 version=0 time=482911 cpu=2 thread=61 data=<digits> crc=<8 digits>
 *
 * All digits are hexadecimal, the rest is decimal. n counts the events of this boot from 1, so that a lost one shows;
 * the checksum is that of every byte before " crc=". An event that is too large for a line is counted and omitted.
 */
#include <linux/module.h>
#include <linux/random.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "machine.h"

#define LINE_BYTES 4096
#define HEAD_BYTES 256
#define GUID_BYTES 16

static unsigned int trace_port;
module_param(trace_port, uint, 0400);
MODULE_PARM_DESC(trace_port, "I/O port that trace events are written to as lines; 0 for none");

struct piece {
	u64 address;
	u32 bytes;
	u32 unused;
};

static DEFINE_RAW_SPINLOCK(lock);
static char line[LINE_BYTES];
static u64 boot;
static u64 events;

static unsigned int hexadecimal(char *to, const void *from, unsigned int bytes)
{
	bin2hex(to, from, bytes);
	return 2 * bytes;
}

/* CRC-32 as zlib and Ethernet have it; the kernel's own may be a module of its own. */
static u32 checksum(const char *bytes, unsigned int count)
{
	u32 crc = ~0U;
	unsigned int bit;

	while (count--) {
		crc ^= (u8)*bytes++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320U : 0);
	}
	return ~crc;
}

static unsigned int size_of(const struct piece *piece, unsigned int count)
{
	u64 bytes = 0;

	while (count--)
		bytes += piece++->bytes;
	return bytes > LINE_BYTES ? LINE_BYTES : bytes;
}

void machine_trace(const void *provider, unsigned id, unsigned version, const void *pieces, unsigned count)
{
	const struct piece *piece = pieces;
	unsigned long flags;
	unsigned int length;

	if (!trace_port)
		return;

	raw_spin_lock_irqsave(&lock, flags);
	while (!boot)
		boot = get_random_u64();
	events++;
	if (HEAD_BYTES + 2 * size_of(piece, count) < LINE_BYTES) {
		length = scnprintf(line, LINE_BYTES, "EVT1 n=%llu boot=%016llx provider=", events, boot);
		length += hexadecimal(line + length, provider, GUID_BYTES);
		length += scnprintf(line + length, LINE_BYTES - length, " id=%u version=%u time=%llu cpu=%u thread=%lu data=", id,
				    version, machine_ticks(), machine_processor(), machine_thread());
		for (; count; count--, piece++)
			length += hexadecimal(line + length, (const void *)(uintptr_t)piece->address, piece->bytes);
		length += scnprintf(line + length, LINE_BYTES - length, " crc=%08x\n", checksum(line, length));
		machine_port_write(trace_port, line, length);
	}
	raw_spin_unlock_irqrestore(&lock, flags);
}
