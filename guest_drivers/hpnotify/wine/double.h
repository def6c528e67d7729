/* SPDX-License-Identifier: MIT */
/*
 * The internal interfaces of the double. They are compiled in three worlds that cannot see one another's
 * headers: adapter.c with nt/include (the NT core's), machine.c and instructions.c with windows.h, the others with
 * mingw-w64's ntddk.h (the driver's; see bound.h). So only plain C types pass here.
 */
#ifndef DOUBLE_H
#define DOUBLE_H

/* machine.c */

/* Appends to the transcript: "trouble: …" and whatever else a line says. */
__attribute__((format(printf, 1, 2))) void double_say(const char *format, ...);
__attribute__((format(printf, 1, 2))) void double_trouble(const char *format, ...);
/* The transcript and a reference that keeps the double loaded; nonzero if there are both already. */
int double_machine(void *address_inside);
long double_allocations(void);
void *double_function(const char *library, const char *name);
int double_writable(void *address, unsigned long bytes, int on);
/* Runs a command of the control device and returns an NTSTATUS for its answer. */
int double_command(char *line);
/* Binds this thread to that processor from now on; a call on a processor, in a new thread. */
void double_be(unsigned processor);
int double_call(unsigned processor, void (*run)(void *context), void *context);
/* The REG_DWORD values of a service's Parameters key, one by one until it returns 0. */
int double_parameter(const unsigned short *service_path, unsigned index, unsigned short name[32], unsigned *value);

/* instructions.c. First of all: the machine, the exception handler, and the core. */
void double_begin(void *address_inside);

/* device.c: stops and starts all devices of Plug and Play drivers; the core calls it. */
void service_rebalance_all(void *unused);
int double_announce(const void *class);

/* adapter.c: the core's functions for a driver that has the real binary interface. */

void *adapter_driver(const unsigned short *registry_path);
void adapter_driver_gone(void *driver);
/* Pool and trace providers of the core that were not released. */
unsigned adapter_outstanding(void);
unsigned adapter_irql(void);
void adapter_unload(void *framework);
/* A node of the device tree, which is the driver's WDFDEVICE_INIT. */
void *adapter_node(void *framework);
int adapter_node_add(void *node);
void adapter_node_delete(void *node);
/* The driver's device, or NULL. */
void *adapter_node_device(void *node);
/* The driver's callback for a request, or NULL; the framework's own handling of it. */
void *adapter_node_preprocessed(void *node, unsigned char minor);
int adapter_node_handle(void *node, unsigned char minor);
int adapter_control(
    void *framework, unsigned code, const void *input, unsigned long long input_bytes, void *output,
    unsigned long long output_bytes, unsigned long long *information);
/* Sets this thread's affinity as a group mask; the machine's number of a processor, or -1. */
void adapter_bind(unsigned short group, unsigned long long mask);
int adapter_processor(const void *number);
void adapter_port_write(unsigned short port, void *bytes, unsigned count);
/* The core's own function by the name that a driver imports, or NULL. */
void *adapter_redirect(const char *name);

#endif
