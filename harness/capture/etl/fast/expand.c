/* SPDX-License-Identifier: MIT */
/* Plain XPRESS, as compression.expand expands it. */
#include <string.h>
#include "fast.h"

enum { WHOLE, ENDS, LONG_FORM, BEFORE, TOO_FEW };

/* Expand `raw` to `size` bytes; `out` has room for 64 KB more. Returns why not, with the bytes made and a number. */
int fast_expand(const uint8_t *raw, uint64_t end, uint8_t *out, uint64_t size, uint64_t *made, uint64_t *number)
{
	uint64_t at = 0, have = 0, shared = UINT64_MAX;
	int why = WHOLE;

	while (have < size) {
		uint32_t flags, left = 32;
		if (at + 4 > end) {
			why = ENDS;
			goto out;
		}
		flags = u32(raw + at);
		at += 4;
		while (left) {
			uint32_t used = flags ? 32 - (uint32_t)__builtin_clz(flags) : 0, run = left - used;
			uint64_t length, distance;
			uint32_t token;
			if (run) {
				uint64_t there = at < end ? end - at : 0;
				if (there > run)
					there = run;
				memcpy(out + have, raw + (there ? at : 0), there);
				have += there;
				at += run;
				left -= run;
				if (!left)
					break;
			}
			if (at >= end || have >= size)
				break;
			left--;
			flags ^= (uint32_t)1 << left;
			if (at + 2 > end) {
				why = ENDS;
				goto out;
			}
			token = u16(raw + at);
			at += 2;
			distance = (token >> 3) + 1;
			length = token & 7;
			if (length == 7) {
				if (shared == UINT64_MAX) {
					if (at >= end) {
						why = ENDS;
						goto out;
					}
					length = raw[at] & 15;
					shared = at++;
				} else {
					length = raw[shared] >> 4;
					shared = UINT64_MAX;
				}
				if (length == 15) {
					if (at >= end) {
						why = ENDS;
						goto out;
					}
					length = raw[at++];
					if (length == 255) {
						if (at + 2 > end) {
							why = ENDS;
							goto out;
						}
						length = u16(raw + at);
						at += 2;
						if (!length) {
							if (at + 4 > end) {
								why = ENDS;
								goto out;
							}
							length = u32(raw + at);
							at += 4;
						}
						if (length < 22) {
							*number = length;
							why = LONG_FORM;
							goto out;
						}
						length -= 22;
					}
					length += 15;
				}
				length += 7;
			}
			length += 3;
			if (distance > have) {
				*number = distance;
				why = BEFORE;
				goto out;
			}
			if (length > distance && length > size - have)
				length = size - have;
			if (distance >= length)
				memcpy(out + have, out + have - distance, length);
			else
				for (uint64_t one = 0; one < length; one++)
					out[have + one] = out[have + one - distance];
			have += length;
		}
		if (at >= end)
			break;
	}
	if (have < size)
		why = TOO_FEW;
out:
	*made = have;
	return why;
}
