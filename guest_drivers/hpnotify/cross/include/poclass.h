/* SPDX-License-Identifier: MIT */
/*
 * Interface classes of processors and memory (WD: install/guid-device-processor.md, install/guid-device-memory.md),
 * instead of the poclass.h of mingw-w64's ddk folder, which does not compile.
 */
#include <ntddk.h>

DEFINE_GUID(GUID_DEVICE_PROCESSOR, 0x97FADB10, 0x4E33, 0x40AE, 0x35, 0x9C, 0x8B, 0xEF, 0x02, 0x9D, 0xBD, 0xD0);
DEFINE_GUID(GUID_DEVICE_MEMORY, 0x3FD0F03D, 0x92E0, 0x45FB, 0xB7, 0x5C, 0x5E, 0xD8, 0xFF, 0xB0, 0x10, 0x21);
