// SPDX-License-Identifier: MIT
/* What the NT layer needs, on the Linux kernel (see nt/core/machine.h). */
#include <linux/cpu.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>

#include "machine.h"
#include "twin.h"

#define DISPATCH_LEVEL 2

static struct workqueue_struct *deferred;
static struct mutex mutexes[MACHINE_MUTEXES];
static DEFINE_PER_CPU(unsigned int, irql);

int twin_machine_begin(void)
{
	unsigned int i;

	for (i = 0; i < MACHINE_MUTEXES; i++)
		mutex_init(&mutexes[i]);
	deferred = alloc_ordered_workqueue("nt", 0);
	return deferred ? 0 : -ENOMEM;
}

void twin_machine_end(void)
{
	destroy_workqueue(deferred);
}

void *machine_allocate(unsigned long bytes)
{
	return kzalloc(bytes, GFP_KERNEL);
}

void machine_free(void *memory)
{
	kfree(memory);
}

void machine_lock(enum machine_mutex mutex)
{
	mutex_lock(&mutexes[mutex]);
}

void machine_unlock(enum machine_mutex mutex)
{
	mutex_unlock(&mutexes[mutex]);
}

void machine_exclude_additions(void)
{
	cpus_read_lock();
}

void machine_allow_additions(void)
{
	cpus_read_unlock();
}

/* A KSPIN_LOCK has room for the lock and for the interrupt flag of whoever holds it. */
struct spin {
	raw_spinlock_t lock;
	u32 flags;
};

static_assert(sizeof(struct spin) <= sizeof(u64));

unsigned machine_spin_acquire(void *storage)
{
	struct spin *spin = storage;
	unsigned long flags;
	unsigned int old;

	raw_spin_lock_irqsave(&spin->lock, flags);
	spin->flags = flags;
	old = __this_cpu_read(irql);
	__this_cpu_write(irql, DISPATCH_LEVEL);
	return old;
}

void machine_spin_release(void *storage, unsigned old_irql)
{
	struct spin *spin = storage;
	unsigned long flags = spin->flags;

	__this_cpu_write(irql, old_irql);
	raw_spin_unlock_irqrestore(&spin->lock, flags);
}

/* Whoever raised this processor's level keeps it from running anything else, so its own level is what is read. */
unsigned machine_irql(void)
{
	return this_cpu_read(irql);
}

unsigned machine_processor(void)
{
	return raw_smp_processor_id();
}

unsigned long machine_thread(void)
{
	return task_pid_nr(current);
}

unsigned long long machine_ticks(void)
{
	return ktime_get_ns() / 100;
}

unsigned long long machine_time(void)
{
	return ktime_get_real_ns() / 100 + 116444736000000000ULL;
}

unsigned char machine_port_read(unsigned short port)
{
	return inb(port);
}

void machine_port_write(unsigned short port, const void *bytes, unsigned count)
{
	outsb(port, bytes, count);
}

void machine_print(int trouble, const char *text)
{
	if (trouble)
		pr_err("hpnotify: trouble: %s\n", text);
	else
		pr_info("%s", text);
}

unsigned machine_format(char *buffer, unsigned capacity, const char *format, __builtin_va_list arguments)
{
	return vscnprintf(buffer, capacity, format, arguments);
}

struct deferral {
	struct work_struct work;
	void (*function)(void *context);
	void *context;
};

static void run_deferral(struct work_struct *work)
{
	struct deferral *deferral = container_of(work, struct deferral, work);

	deferral->function(deferral->context);
	kfree(deferral);
}

int machine_defer(void (*function)(void *context), void *context)
{
	struct deferral *deferral = kmalloc(sizeof(*deferral), GFP_KERNEL);

	if (!deferral)
		return -1;
	deferral->function = function;
	deferral->context = context;
	INIT_WORK(&deferral->work, run_deferral);
	queue_work(deferred, &deferral->work);
	return 0;
}

void machine_flush(void)
{
	flush_workqueue(deferred);
}

void machine_reset(void)
{
	emergency_restart();
}

struct ranges {
	struct machine_range *ranges;
	unsigned int capacity;
	unsigned int count;
};

static int note_range(struct resource *resource, void *argument)
{
	struct ranges *found = argument;

	if (found->count < found->capacity) {
		found->ranges[found->count].start = resource->start;
		found->ranges[found->count].bytes = resource_size(resource);
	}
	found->count++;
	return 0;
}

unsigned machine_memory(struct machine_range *ranges, unsigned capacity)
{
	struct ranges found = { .ranges = ranges, .capacity = capacity };

	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0, -1, &found, note_range);
	return found.count;
}
