/* SPDX-License-Identifier: MIT */
/* Deferred procedure calls and affinity: the core keeps its own in other storage than a driver has for a KDPC. */
#include "bound.h"

#include "machine.h"

LONG DpcQueued;

typedef struct _DOUBLE_DPC {
    volatile LONG Queued;
    LONG Processor;
    PKDEFERRED_ROUTINE Routine;
    PVOID Context;
    PVOID Arguments[2];
} DOUBLE_DPC;

C_ASSERT(sizeof(DOUBLE_DPC) <= sizeof(KDPC));

static
VOID
NTAPI
InitializeDpc(
    PKDPC Dpc,
    PKDEFERRED_ROUTINE Routine,
    PVOID Context
    )
{
    DOUBLE_DPC *dpc = (DOUBLE_DPC *)Dpc;

    memset(dpc, 0, sizeof(*dpc));
    dpc->Processor = -1;
    dpc->Routine = Routine;
    dpc->Context = Context;
}

static
NTSTATUS
NTAPI
SetTargetProcessorDpcEx(
    PKDPC Dpc,
    PPROCESSOR_NUMBER ProcNumber
    )
{
    DOUBLE_DPC *dpc = (DOUBLE_DPC *)Dpc;
    int processor = adapter_processor(ProcNumber);

    if (processor < 0) {
        return STATUS_INVALID_PARAMETER;
    }
    dpc->Processor = processor;
    return STATUS_SUCCESS;
}

static
void
RunDpc(
    void *Context
    )
{
    DOUBLE_DPC *dpc = Context;
    unsigned old = machine_set_irql(DISPATCH_LEVEL);
    PVOID first = dpc->Arguments[0];
    PVOID second = dpc->Arguments[1];

    __atomic_store_n(&dpc->Queued, 0, __ATOMIC_SEQ_CST);
    dpc->Routine((PKDPC)dpc, dpc->Context, first, second);
    machine_set_irql(old);
    __atomic_sub_fetch(&DpcQueued, 1, __ATOMIC_SEQ_CST);
}

static
BOOLEAN
NTAPI
InsertQueueDpc(
    PKDPC Dpc,
    PVOID First,
    PVOID Second
    )
{
    DOUBLE_DPC *dpc = (DOUBLE_DPC *)Dpc;

    if (__atomic_exchange_n(&dpc->Queued, 1, __ATOMIC_SEQ_CST) != 0) {
        return FALSE;
    }
    dpc->Arguments[0] = First;
    dpc->Arguments[1] = Second;
    __atomic_add_fetch(&DpcQueued, 1, __ATOMIC_SEQ_CST);
    if (double_call(dpc->Processor < 0 ? machine_processor() : (unsigned)dpc->Processor, RunDpc, dpc) != 0) {
        double_trouble("no thread for a DPC");
    }
    return TRUE;
}

static
VOID
NTAPI
FlushQueuedDpcs(
    VOID
    )
{
    while (__atomic_load_n(&DpcQueued, __ATOMIC_SEQ_CST) != 0) {
        machine_pause();
    }
}

static
VOID
NTAPI
SetSystemGroupAffinityThread(
    PGROUP_AFFINITY Affinity,
    PGROUP_AFFINITY Previous
    )
{
    if (Previous != NULL) {
        memset(Previous, 0, sizeof(*Previous));
    }
    adapter_bind(Affinity->Group, Affinity->Mask);
}

const BOUND_IMPORT DpcImports[] = {
    BOUND_IMPORT_OF("KeInitializeDpc", InitializeDpc),
    BOUND_IMPORT_OF("KeSetTargetProcessorDpcEx", SetTargetProcessorDpcEx),
    BOUND_IMPORT_OF("KeInsertQueueDpc", InsertQueueDpc),
    BOUND_IMPORT_OF("KeFlushQueuedDpcs", FlushQueuedDpcs),
    BOUND_IMPORT_OF("KeSetSystemGroupAffinityThread", SetSystemGroupAffinityThread),
    { NULL, NULL }
};
