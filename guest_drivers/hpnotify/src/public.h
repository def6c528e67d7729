/* SPDX-License-Identifier: MIT */
/*
 * The driver's interface to user mode: I/O control codes and their buffers.
 *
 * Self-contained: it uses only CTL_CODE and the fixed-size types that its includer has (winioctl.h and windows.h in a
 * Windows program). All buffers are METHOD_BUFFERED. An input buffer has exactly the size of its structure; a request
 * has an input or output buffer only where one is named.
 */
#ifndef HPNOTIFY_PUBLIC_H
#define HPNOTIFY_PUBLIC_H

#define HPNOTIFY_DEVICE_TYPE 0x8504U

#define HPNOTIFY_CODE(Function) \
    CTL_CODE(HPNOTIFY_DEVICE_TYPE, 0x800 + (Function), METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)

/* In: HPNOTIFY_VETO. Make the driver veto a processor in its Start callback. */
#define IOCTL_HPNOTIFY_VETO HPNOTIFY_CODE(0)

/* In: HPNOTIFY_MARK. Make the driver echo a nonce on every channel. */
#define IOCTL_HPNOTIFY_MARK HPNOTIFY_CODE(1)

/*
 * Remove the Plug and Play registrations. Send it before the service is stopped: a driver cannot be unloaded until it
 * removed them.
 */
#define IOCTL_HPNOTIFY_DETACH HPNOTIFY_CODE(2)

/*
 * Out: whole lines, oldest first, as many as fit in the buffer (at least 512 bytes), none if nothing is unread. If
 * lines were overwritten unread, a record says how many before anything else is read.
 */
#define IOCTL_HPNOTIFY_READ_RING HPNOTIFY_CODE(3)

/* Out: HPNOTIFY_STATISTICS, followed by as many HPNOTIFY_PROCESSOR as fit. */
#define IOCTL_HPNOTIFY_STATISTICS HPNOTIFY_CODE(4)

/* In: HPNOTIFY_DELAY. How long Start takes from now on. */
#define IOCTL_HPNOTIFY_DELAY HPNOTIFY_CODE(5)

/* In: HPNOTIFY_REGISTRATION. Make a registration, or end one; the flags count only when it is made. */
#define IOCTL_HPNOTIFY_REGISTER HPNOTIFY_CODE(6)
#define IOCTL_HPNOTIFY_DEREGISTER HPNOTIFY_CODE(7)

/* Discard the unread lines of the ring. */
#define IOCTL_HPNOTIFY_FLUSH HPNOTIFY_CODE(8)

/* In: HPNOTIFY_WORK. Distribute work items over the processors. */
#define IOCTL_HPNOTIFY_WORK HPNOTIFY_CODE(9)

#define HPNOTIFY_NONCE_CHARACTERS 32
#define HPNOTIFY_MOST_DELAY 60000
#define HPNOTIFY_MOST_WORK 100000

typedef struct _HPNOTIFY_VETO {
    /* The error to veto with; a success status cancels a pending veto. */
    ULONG Status;
    /* The Start to veto, counted from now: 1 is the next one. */
    ULONG Nth;
} HPNOTIFY_VETO;

typedef struct _HPNOTIFY_MARK {
    /* Letters and digits, ended by a zero byte unless all are used. */
    CHAR Nonce[HPNOTIFY_NONCE_CHARACTERS];
} HPNOTIFY_MARK;

typedef struct _HPNOTIFY_DELAY {
    ULONG Milliseconds;
} HPNOTIFY_DELAY;

#define HPNOTIFY_FIRST_SYNC 0
#define HPNOTIFY_SECOND_SYNC 1
#define HPNOTIFY_PROCESSOR_ARRIVAL 2
#define HPNOTIFY_MEMORY_ARRIVAL 3

typedef struct _HPNOTIFY_REGISTRATION {
    ULONG Which;
    /* 1: report existing devices. */
    ULONG Flags;
} HPNOTIFY_REGISTRATION;

typedef struct _HPNOTIFY_WORK {
    ULONG Items;
} HPNOTIFY_WORK;

typedef struct _HPNOTIFY_STATISTICS {
    ULONG64 Records;
    ULONG64 RingUnread;
    ULONG64 RingOverrun;
    ULONG64 TraceFailures;
    ULONG64 BufferBytes;
    ULONG64 WorkRefused;
    ULONG RingCapacity;
    ULONG DebugPort;
    ULONG ActiveProcessors;
    ULONG MaximumProcessors;
    ULONG Groups;
    /* Processors with a worker; more than follow if the buffer was too small. */
    ULONG Workers;
} HPNOTIFY_STATISTICS;

typedef struct _HPNOTIFY_PROCESSOR {
    ULONG NtNumber;
    ULONG Group;
    ULONG Number;
    ULONG Pending;
    ULONG64 Done;
    /* How often the thread or the DPC ran on a processor other than its own. */
    ULONG64 Misplaced;
    ULONG64 Dpcs;
} HPNOTIFY_PROCESSOR;

#endif
