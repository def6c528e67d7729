/* SPDX-License-Identifier: MIT */
/* What the machine reports: the processors that it starts with, and processors and memory that arrive later. */
#include "layer.h"

int
core_initialize(const unsigned *processors, unsigned count, unsigned maximum, unsigned group_size)
{
    unsigned index;

    if (count == 0 || count > maximum || maximum > LAYER_PROCESSORS || group_size == 0 || group_size > 64) {
        return -1;
    }

    /* A plant that was selected before stays. */
    if (behaviour() == NULL) {
        behaviour_select(&documented);
    }
    processor_initialize(processors, count, maximum, group_size);
    for (index = 0; index < count; index += 1) {
        if (notify_existing(INTERFACE_PROCESSOR, processors[index]) != 0) {
            return -1;
        }
    }
    return 0;
}

void
core_finish(void)
{
    processor_forget();
    notify_forget();
    registry_forget();
}

int
core_add_start(unsigned processor)
{
    NTSTATUS status;
    int n = processor_find(processor);

    if (n < 0) {
        n = processor_take_number(processor);
    }
    if (n < 0) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }

    status = behaviour()->add_start((ULONG)n);
    if (!NT_SUCCESS(status)) {
        processor_return_number((ULONG)n);
    }
    return NT_SUCCESS(status) ? STATUS_SUCCESS : status;
}

static void
announce_later(void *context)
{
    notify_arrival(INTERFACE_PROCESSOR, (ULONG_PTR)context);
}

/* The asynchronous notification of a processor: some time after it runs threads. */
static void
announce(ULONG n)
{
    if (machine_defer(announce_later, (void *)(ULONG_PTR)processor_machine(n)) != 0) {
        layer_trouble("no memory to announce processor %u", n);
    }

    /* Adding a processor starts a rebalance of all devices; when, relative to the notifications, is not documented. */
    if (devices_exist() && machine_defer(service_rebalance_all, NULL) != 0) {
        layer_trouble("no memory to rebalance devices after processor %u", n);
    }
}

void
core_add_complete(unsigned processor)
{
    int n = processor_find(processor);

    if (n >= 0 && !processor_is_active((ULONG)n)) {
        behaviour()->add_complete((ULONG)n);
        announce((ULONG)n);
    }
}

void
core_add_failed(unsigned processor)
{
    int n = processor_find(processor);

    if (n < 0 || processor_is_active((ULONG)n)) {
        return;
    }

    processor_failure_round((ULONG)n, STATUS_UNSUCCESSFUL);
    processor_return_number((ULONG)n);
}

void
core_memory_arrived(unsigned long long start, unsigned long long bytes)
{
    UNREFERENCED_PARAMETER(bytes);
    behaviour()->memory(start);
}
