// SPDX-License-Identifier: MIT
/* What the NT layer needs, on the Linux kernel (see nt/core/machine.h). */
#include <linux/cpu.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "machine.h"
#include "twin.h"

#define DISPATCH_LEVEL 2

static struct workqueue_struct *deferred;
static struct mutex mutexes[MACHINE_MUTEXES];
static DEFINE_PER_CPU(unsigned int, irql);
static atomic_t allocations;

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
	if (atomic_read(&allocations))
		pr_err("hpnotify: trouble: %d allocations were never freed\n", atomic_read(&allocations));
}

int machine_fails(void)
{
	return 0;
}

void *machine_allocate(unsigned long bytes)
{
	void *memory = kvzalloc(bytes, GFP_KERNEL);

	if (memory)
		atomic_inc(&allocations);
	return memory;
}

void machine_free(void *memory)
{
	if (memory)
		atomic_dec(&allocations);
	kvfree(memory);
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

/* A KSPIN_LOCK has room for the lock and for its holder's interrupt flag. */
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

/* A raised level prevents this processor from running other code, so the caller reads its own level. */
unsigned machine_irql(void)
{
	return this_cpu_read(irql);
}

unsigned machine_set_irql(unsigned level)
{
	unsigned int old = __this_cpu_read(irql);

	__this_cpu_write(irql, level);
	return old;
}

struct event {
	wait_queue_head_t queue;
	int set;
};

static_assert(sizeof(struct event) <= MACHINE_EVENT_BYTES);

void machine_event_initialize(void *storage, int set)
{
	struct event *event = storage;

	init_waitqueue_head(&event->queue);
	event->set = set;
}

void machine_event_set(void *storage)
{
	struct event *event = storage;
	unsigned long flags;

	/* Under the queue's lock, so that a waiter which frees the event does so after this is done with it. */
	spin_lock_irqsave(&event->queue.lock, flags);
	event->set = 1;
	wake_up_locked(&event->queue);
	spin_unlock_irqrestore(&event->queue.lock, flags);
}

static bool take(struct event *event, int consume)
{
	unsigned long flags;
	bool set;

	spin_lock_irqsave(&event->queue.lock, flags);
	set = event->set;
	if (consume)
		event->set = 0;
	spin_unlock_irqrestore(&event->queue.lock, flags);
	return set;
}

/* Idle waits: a worker without work is not a hung task. */
int machine_event_wait(void *storage, int consume, long long ticks)
{
	struct event *event = storage;

	if (ticks < 0) {
		wait_event_idle(event->queue, take(event, consume));
		return 0;
	}
	return wait_event_idle_timeout(event->queue, take(event, consume), nsecs_to_jiffies(ticks * 100) + 1) ? 0 : -1;
}

struct start {
	void (*entry)(void *context);
	void *context;
};

/* A thread keeps the module until it is out of its code. */
static int thread_begins(void *argument)
{
	struct start *start = argument;

	start->entry(start->context);
	machine_thread_exit();
}

int machine_thread_start(void (*entry)(void *context), void *context)
{
	struct start *start = kmalloc(sizeof(*start), GFP_KERNEL);
	struct task_struct *task;

	if (!start)
		return -1;
	start->entry = entry;
	start->context = context;
	__module_get(THIS_MODULE);
	task = kthread_run(thread_begins, start, "nt");
	if (IS_ERR(task)) {
		module_put(THIS_MODULE);
		kfree(start);
		return -1;
	}
	return 0;
}

void *machine_thread_context(void)
{
	struct start *start = kthread_data(current);

	return start->context;
}

void machine_thread_exit(void)
{
	kfree(kthread_data(current));
	module_put_and_kthread_exit(0);
}

void machine_bind(const unsigned *processors, unsigned count)
{
	cpumask_var_t mask;

	if (!zalloc_cpumask_var(&mask, GFP_KERNEL))
		return;
	while (count--)
		cpumask_set_cpu(processors[count], mask);
	set_cpus_allowed_ptr(current, mask);
	free_cpumask_var(mask);
}

void machine_delay(unsigned long long ticks)
{
	schedule_timeout_idle(nsecs_to_jiffies(ticks * 100) + 1);
}

void machine_pause(void)
{
	cond_resched();
	cpu_relax();
}

struct call {
	struct __call_single_data data;
	void (*run)(void *context);
	void *context;
};

static_assert(sizeof(struct call) <= MACHINE_CALL_BYTES);

/* Linux no longer uses the call's storage when this runs. */
static void run_call(void *argument)
{
	struct call *call = argument;

	call->run(call->context);
}

int machine_call(void *storage, unsigned processor, void (*run)(void *context), void *context)
{
	struct call *call = storage;

	call->run = run;
	call->context = context;
	call->data.func = run_call;
	call->data.info = call;
	return smp_call_function_single_async(processor, &call->data) ? -1 : 0;
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

/* One string at a time: two drivers, each under its own lock, would otherwise mix their lines on one port. */
static DEFINE_RAW_SPINLOCK(port_lock);

void machine_port_write(unsigned short port, const void *bytes, unsigned count)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&port_lock, flags);
	outsb(port, bytes, count);
	raw_spin_unlock_irqrestore(&port_lock, flags);
}

void machine_print(int trouble, const char *text)
{
	if (trouble)
		pr_err("hpnotify: trouble: %s\n", text);
	else
		pr_info("%s", text);
	twin_debugger_print(text);
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
