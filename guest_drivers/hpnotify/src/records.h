/* SPDX-License-Identifier: MIT */
/*
 * The layout of every record that the driver reports, as one table.
 *
 * A record is one line: "HPN1", the HEAD fields, "ev=" and the kind's tag, the SAMPLE fields, the fields of the kind,
 * and "crc=". FIELD(Type, Member, wire, Format) gives the structure, the name in C, the key on the wire and the
 * format:
 *
 *   Decimal      unsigned decimal            Signed     decimal, may be negative
 *   Hexadecimal  0x and hexadecimal digits   Nonce      sixteen hexadecimal digits
 *   Text         ASCII, percent-encoded      WideText   UTF-16, written as percent-encoded UTF-8
 *
 * The reader of these lines has its own table (harness/history/driver.py); a test compares the two.
 */
#ifndef HPNOTIFY_RECORDS_H
#define HPNOTIFY_RECORDS_H

#define HPN_RECORD_HEAD(FIELD, Type) \
    FIELD(Type, Sequence, seq, Decimal) \
    FIELD(Type, PerformanceCounter, qpc, Decimal) \
    FIELD(Type, BootNonce, boot, Nonce) \
    FIELD(Type, Driver, driver, Text)

#define HPN_RECORD_SAMPLE(FIELD, Type) \
    FIELD(Type, Processor, cpu, Decimal) \
    FIELD(Type, Irql, irql, Decimal) \
    FIELD(Type, Thread, thread, Hexadecimal) \
    FIELD(Type, Active, active, Decimal) \
    FIELD(Type, ActiveLegacy, active_g0, Decimal) \
    FIELD(Type, ActiveGroupZero, active_g0_ex, Decimal) \
    FIELD(Type, Maximum, maximum, Decimal) \
    FIELD(Type, Groups, groups, Decimal)

#define HPN_RECORD_HELLO(FIELD, Type) \
    FIELD(Type, Version, version, Text) \
    FIELD(Type, Frequency, hz, Decimal) \
    FIELD(Type, RingCapacity, ring, Decimal) \
    FIELD(Type, Mode, mode, Text)

#define HPN_RECORD_SYNC_ENTER(FIELD, Type) \
    FIELD(Type, Registration, reg, Decimal) \
    FIELD(Type, State, state, Decimal) \
    FIELD(Type, NtNumber, nt, Decimal) \
    FIELD(Type, Group, group, Decimal) \
    FIELD(Type, Number, number, Decimal) \
    FIELD(Type, Status, status, Hexadecimal) \
    FIELD(Type, OperationStatus, op, Hexadecimal) \
    FIELD(Type, Context, ctx, Hexadecimal) \
    FIELD(Type, MaximumInGroup, max_in_group, Decimal) \
    FIELD(Type, Mask, mask, Hexadecimal) \
    FIELD(Type, IndexStatus, idx_status, Hexadecimal) \
    FIELD(Type, IndexGroup, idx_group, Decimal) \
    FIELD(Type, IndexNumber, idx_number, Decimal) \
    FIELD(Type, BackIndex, back_idx, Signed)

#define HPN_RECORD_SYNC_EXIT(FIELD, Type) \
    FIELD(Type, Enter, enter, Decimal) \
    FIELD(Type, Registration, reg, Decimal) \
    FIELD(Type, State, state, Decimal) \
    FIELD(Type, NtNumber, nt, Decimal) \
    FIELD(Type, Group, group, Decimal) \
    FIELD(Type, Number, number, Decimal) \
    FIELD(Type, Status, status, Hexadecimal) \
    FIELD(Type, OperationStatus, op, Hexadecimal)

#define HPN_RECORD_ASYNC_ENTER(FIELD, Type) \
    FIELD(Type, Registration, reg, Decimal) \
    FIELD(Type, Event, event, Text) \
    FIELD(Type, Class, cls, Text) \
    FIELD(Type, Version, version, Decimal) \
    FIELD(Type, Link, link, WideText) \
    FIELD(Type, Memory, memory, Decimal)

#define HPN_RECORD_ASYNC_EXIT(FIELD, Type) \
    FIELD(Type, Enter, enter, Decimal) \
    FIELD(Type, Registration, reg, Decimal) \
    FIELD(Type, Returned, ret, Hexadecimal)

#define HPN_RECORD_CALL_ENTER(FIELD, Type) \
    FIELD(Type, Call, call, Text) \
    FIELD(Type, Registration, reg, Decimal) \
    FIELD(Type, Flags, flags, Hexadecimal) \
    FIELD(Type, Class, cls, Text) \
    FIELD(Type, Context, ctx, Hexadecimal)

#define HPN_RECORD_CALL_EXIT(FIELD, Type) \
    FIELD(Type, Enter, enter, Decimal) \
    FIELD(Type, Call, call, Text) \
    FIELD(Type, Result, result, Hexadecimal) \
    FIELD(Type, Registration, reg, Decimal) \
    FIELD(Type, Handle, handle, Decimal)

#define HPN_RECORD_ALLOC(FIELD, Type) \
    FIELD(Type, Registration, reg, Decimal) \
    FIELD(Type, NtNumber, nt, Decimal) \
    FIELD(Type, Object, object, Hexadecimal) \
    FIELD(Type, Size, size, Decimal)

#define HPN_RECORD_FREE(FIELD, Type) \
    FIELD(Type, Registration, reg, Decimal) \
    FIELD(Type, NtNumber, nt, Decimal) \
    FIELD(Type, Object, object, Hexadecimal)

#define HPN_RECORD_BIND(FIELD, Type) \
    FIELD(Type, What, what, Text) \
    FIELD(Type, NtNumber, nt, Decimal) \
    FIELD(Type, Group, group, Decimal) \
    FIELD(Type, Number, number, Decimal)

#define HPN_RECORD_WORK(FIELD, Type) \
    FIELD(Type, NtNumber, nt, Decimal) \
    FIELD(Type, Done, done, Decimal)

#define HPN_RECORD_GROW(FIELD, Type) \
    FIELD(Type, Before, before, Decimal) \
    FIELD(Type, After, after, Decimal)

#define HPN_RECORD_PNP_ENTER(FIELD, Type) \
    FIELD(Type, Device, device, Text) \
    FIELD(Type, Minor, minor, Text)

#define HPN_RECORD_PNP_EXIT(FIELD, Type) \
    FIELD(Type, Enter, enter, Decimal) \
    FIELD(Type, Device, device, Text) \
    FIELD(Type, Minor, minor, Text) \
    FIELD(Type, Returned, ret, Hexadecimal)

#define HPN_RECORD_MARK(FIELD, Type) \
    FIELD(Type, Nonce, nonce, Text)

#define HPN_RECORD_OVERRUN(FIELD, Type) \
    FIELD(Type, Count, count, Decimal)

/* Every kind: its name in C, its tag on the wire, its fields. */
#define HPN_RECORDS(RECORD) \
    RECORD(Hello, "hello", HPN_RECORD_HELLO) \
    RECORD(SyncEnter, "sync.enter", HPN_RECORD_SYNC_ENTER) \
    RECORD(SyncExit, "sync.exit", HPN_RECORD_SYNC_EXIT) \
    RECORD(AsyncEnter, "async.enter", HPN_RECORD_ASYNC_ENTER) \
    RECORD(AsyncExit, "async.exit", HPN_RECORD_ASYNC_EXIT) \
    RECORD(CallEnter, "call.enter", HPN_RECORD_CALL_ENTER) \
    RECORD(CallExit, "call.exit", HPN_RECORD_CALL_EXIT) \
    RECORD(Alloc, "alloc", HPN_RECORD_ALLOC) \
    RECORD(Free, "free", HPN_RECORD_FREE) \
    RECORD(Bind, "bind", HPN_RECORD_BIND) \
    RECORD(Work, "work", HPN_RECORD_WORK) \
    RECORD(Grow, "grow", HPN_RECORD_GROW) \
    RECORD(PnpEnter, "pnp.enter", HPN_RECORD_PNP_ENTER) \
    RECORD(PnpExit, "pnp.exit", HPN_RECORD_PNP_EXIT) \
    RECORD(Mark, "mark", HPN_RECORD_MARK) \
    RECORD(Overrun, "overrun", HPN_RECORD_OVERRUN)

/* Longest line in bytes, its newline included: what one DbgPrintEx call transmits. */
#define HPN_LINE_BYTES 512

/* Characters of the service name that a record carries; a longer name is cut. */
#define HPN_DRIVER_CHARACTERS 16

typedef ULONG64 HPN_FIELD_Decimal;
typedef LONG64 HPN_FIELD_Signed;
typedef ULONG64 HPN_FIELD_Hexadecimal;
typedef ULONG64 HPN_FIELD_Nonce;
typedef PCSTR HPN_FIELD_Text;
typedef PCUNICODE_STRING HPN_FIELD_WideText;

#define HPN_DECLARE_FIELD(Type, Member, Wire, Format) HPN_FIELD_##Format Member;

/* HPN_SAMPLE: what every record carries. HPN_Hello, HPN_SyncEnter, ...: the fields of each kind. */
typedef struct _HPN_SAMPLE {
    HPN_RECORD_HEAD(HPN_DECLARE_FIELD, HPN_SAMPLE)
    HPN_RECORD_SAMPLE(HPN_DECLARE_FIELD, HPN_SAMPLE)
} HPN_SAMPLE;

#define HPN_DECLARE_RECORD(Kind, Tag, Fields) \
    typedef struct _HPN_##Kind { \
        Fields(HPN_DECLARE_FIELD, HPN_##Kind) \
    } HPN_##Kind;

HPN_RECORDS(HPN_DECLARE_RECORD)

#define HPN_ENUMERATE_RECORD(Kind, Tag, Fields) HpnRecord##Kind,

typedef enum _HPN_RECORD_KIND {
    HPN_RECORDS(HPN_ENUMERATE_RECORD)
    HpnRecordKinds
} HPN_RECORD_KIND;

#endif
