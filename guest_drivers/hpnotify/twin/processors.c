// SPDX-License-Identifier: MIT
/*
 * Processors: Linux brings a processor up through a sequence of states and calls back at each. This module has two:
 * one before the processor starts, which may refuse and is undone when a later state fails, and one when it runs
 * threads.
 *
 * The same undoing also runs when a processor is taken offline again. Windows never removes a processor, so this is
 * distinguished from a failed addition and is invisible to drivers.
 */
#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "machine.h"
#include "twin.h"

static enum cpuhp_state starting_state;
static enum cpuhp_state running_state;
static struct cpumask known;

static int processor_starting(unsigned int cpu)
{
	int status;

	if (cpumask_test_cpu(cpu, &known))
		return 0;
	status = core_add_start(cpu);
	if (!status)
		return 0;
	pr_info("hpnotify: processor %u was refused with 0x%08x\n", cpu, status);
	return -EPERM;
}

static int processor_undone(unsigned int cpu)
{
	if (cpumask_test_cpu(cpu, &known))
		pr_warn("hpnotify: processor %u went offline, which no driver is told\n", cpu);
	else
		core_add_failed(cpu);
	return 0;
}

static int processor_running(unsigned int cpu)
{
	if (!cpumask_test_cpu(cpu, &known)) {
		core_add_complete(cpu);
		cpumask_set_cpu(cpu, &known);
	}
	return 0;
}

int twin_processors_begin(unsigned int group_size)
{
	unsigned int *processors;
	unsigned int count = 0;
	unsigned int cpu;
	int error;

	processors = kcalloc(num_possible_cpus(), sizeof(*processors), GFP_KERNEL);
	if (!processors)
		return -ENOMEM;

	cpus_read_lock();
	for_each_online_cpu(cpu)
		processors[count++] = cpu;
	cpumask_copy(&known, cpu_online_mask);
	error = core_initialize(processors, count, num_possible_cpus(), group_size) ? -EINVAL : 0;
	kfree(processors);
	if (error)
		goto out;

	error = cpuhp_setup_state_nocalls_cpuslocked(CPUHP_BP_PREPARE_DYN, "hpnotify:starting", processor_starting,
						     processor_undone);
	if (error < 0)
		goto out;
	starting_state = error;

	error = cpuhp_setup_state_nocalls_cpuslocked(CPUHP_AP_ONLINE_DYN, "hpnotify:running", processor_running, NULL);
	if (error < 0) {
		__cpuhp_remove_state_cpuslocked(starting_state, false);
		goto out;
	}
	running_state = error;
	error = 0;
out:
	cpus_read_unlock();
	if (error)
		core_finish();
	return error;
}

void twin_processors_end(void)
{
	cpuhp_remove_state_nocalls(running_state);
	cpuhp_remove_state_nocalls(starting_state);
	machine_flush();
	core_finish();
}
