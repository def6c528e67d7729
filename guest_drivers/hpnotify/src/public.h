/* SPDX-License-Identifier: MIT */
/*
 * What the driver offers to user mode: I/O control codes and their buffers.
 *
 * Self-contained: it uses only CTL_CODE and the fixed-size types that its includer has (winioctl.h and windows.h in a
 * Windows program). All buffers are METHOD_BUFFERED; every length must be exact unless its comment says otherwise.
 */
#ifndef HPNOTIFY_PUBLIC_H
#define HPNOTIFY_PUBLIC_H

#define HPNOTIFY_DEVICE_TYPE 0x8504

#define HPNOTIFY_CODE(Function) \
    CTL_CODE(HPNOTIFY_DEVICE_TYPE, 0x800 + (Function), METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)

/* In: HPNOTIFY_VETO. Have the driver refuse a processor in its Start callback. */
#define IOCTL_HPNOTIFY_VETO HPNOTIFY_CODE(0)

/* In: HPNOTIFY_MARK. Have the driver echo a nonce on every channel. */
#define IOCTL_HPNOTIFY_MARK HPNOTIFY_CODE(1)

/*
 * No buffers. Remove the Plug and Play registrations. Send it before the service is stopped: a driver cannot be
 * unloaded until it removed them.
 */
#define IOCTL_HPNOTIFY_DETACH HPNOTIFY_CODE(2)

#define HPNOTIFY_NONCE_CHARACTERS 32

typedef struct _HPNOTIFY_VETO {
    /* The error to veto with; a success status takes a pending veto back. */
    ULONG Status;
    /* Which Start from now on: 1 is the next one. */
    ULONG Nth;
} HPNOTIFY_VETO;

typedef struct _HPNOTIFY_MARK {
    /* Letters and digits, ended by a zero byte unless all are used. */
    CHAR Nonce[HPNOTIFY_NONCE_CHARACTERS];
} HPNOTIFY_MARK;

#endif
