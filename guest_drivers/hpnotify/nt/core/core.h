/* SPDX-License-Identifier: MIT */
/*
 * The NT layer's interface for the machine: it reports processors and memory, and starts, stops and controls drivers.
 * Status results are NTSTATUS values. Only plain C types; see machine.h.
 */
#ifndef NT_CORE_H
#define NT_CORE_H

#define CORE_NAME_BYTES 32
#define CORE_VALUES 8

/* A REG_DWORD value of the service's Parameters key. */
struct core_value {
    char name[CORE_NAME_BYTES];
    unsigned value;
};

/* Call first. Processors beyond those given are added later; group_size is 1 to 64. Returns 0 or -1. */
int core_initialize(const unsigned *processors, unsigned count, unsigned maximum, unsigned group_size);
void core_finish(void);

/* Nonzero: a system from before Windows 10 2004, without the routines that came with it. */
void core_older_system(int is_older);

/* How many processors are active. */
unsigned core_active(void);

/*
 * The addition of a processor, by the machine's own number: start, then complete or failed. A nonzero result of start
 * is the veto; then stop the addition, and call nothing more for it.
 */
int core_add_start(unsigned processor);
void core_add_complete(unsigned processor);
void core_add_failed(unsigned processor);

/* All of a memory device is online. */
void core_memory_arrived(unsigned long long start, unsigned long long bytes);

/*
 * Sends an undocumented event of any class under any name (UTF-16; NULL for none) to all arrival registrations. Event:
 * 0 arrival, 1 removal, 2 another. Class: 0 processor, 1 memory, 2 another.
 */
void core_interface_changed(unsigned event, unsigned class, unsigned short *link, unsigned bytes);

/* Returns 0 if there is such a plant; "none" ends it. */
int core_plant(const char *name);
const char *core_plant_name(void);

int core_service_start(const char *name, const struct core_value *values, unsigned count);
int core_service_stop(const char *name);

/*
 * Stops and starts the devices of a Plug and Play driver (value PlugAndPlay=1), as Windows does when it redistributes
 * resources. This is also done for all drivers, some time after a processor was added.
 */
int core_service_rebalance(const char *name);

/* Disables and enables the first of its devices while the driver stays loaded, as a device manager can. */
int core_service_reenable(const char *name);
int core_service_control(
    const char *name, unsigned code, const void *input, unsigned long input_bytes, void *output,
    unsigned long output_bytes, unsigned long *information);

#endif
