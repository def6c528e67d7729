/* SPDX-License-Identifier: MIT */
/* The ioctls of /dev/nt: how the twin's agent starts, stops and controls drivers. Status fields are NTSTATUS values. */
#ifndef TWIN_CONTROL_H
#define TWIN_CONTROL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#include "core.h"

#define TWIN_BUFFER_BYTES 65536

struct twin_start {
	char name[CORE_NAME_BYTES];
	struct core_value values[CORE_VALUES];
	__u32 count;
	__s32 status;
};

struct twin_stop {
	char name[CORE_NAME_BYTES];
	__s32 status;
};

struct twin_device_control {
	char name[CORE_NAME_BYTES];
	__u32 code;
	__u32 input_bytes;
	__u32 output_bytes;
	__u32 information;
	__u64 input;
	__u64 output;
	__s32 status;
	__u32 reserved;
};

#define TWIN_START _IOWR('N', 0, struct twin_start)
#define TWIN_STOP _IOWR('N', 1, struct twin_stop)
#define TWIN_REBALANCE _IOWR('N', 3, struct twin_stop)
#define TWIN_DEVICE_CONTROL _IOWR('N', 2, struct twin_device_control)

#endif
