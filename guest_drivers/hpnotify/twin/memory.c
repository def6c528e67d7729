// SPDX-License-Identifier: MIT
/*
 * Memory: Linux puts a hot-added device into use block by block (128 MiB). A driver is told of devices, so an arrival
 * is announced once the last block of a device is in use. What belongs to one device is one resource in Linux's map.
 */
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "machine.h"
#include "twin.h"

struct block {
	u64 start;
	u64 bytes;
};

struct dimm {
	struct list_head list;
	u64 start;
	u64 bytes;
	u64 online;
};

/* Touched by the deferred work only, which runs in order. */
static LIST_HEAD(dimms);

struct search {
	u64 address;
	u64 start;
	u64 bytes;
};

static int match(struct resource *resource, void *argument)
{
	struct search *search = argument;

	if (search->address < resource->start || search->address > resource->end)
		return 0;
	search->start = resource->start;
	search->bytes = resource_size(resource);
	return 1;
}

static struct dimm *dimm_at(u64 address)
{
	struct search search = { .address = address };
	struct dimm *dimm;

	list_for_each_entry(dimm, &dimms, list)
		if (address >= dimm->start && address - dimm->start < dimm->bytes)
			return dimm;

	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0, -1, &search, match);
	if (!search.bytes)
		return NULL;
	dimm = kzalloc(sizeof(*dimm), GFP_KERNEL);
	if (!dimm)
		return NULL;
	dimm->start = search.start;
	dimm->bytes = search.bytes;
	list_add_tail(&dimm->list, &dimms);
	return dimm;
}

static void block_online(void *context)
{
	struct block *block = context;
	struct dimm *dimm = dimm_at(block->start);

	if (!dimm) {
		pr_err("hpnotify: trouble: memory at 0x%llx belongs to no device\n", block->start);
	} else {
		dimm->online += block->bytes;
		if (dimm->online == dimm->bytes)
			core_memory_arrived(dimm->start, dimm->bytes);
	}
	kfree(block);
}

static int memory_changed(struct notifier_block *notifier, unsigned long action, void *argument)
{
	struct memory_notify *change = argument;
	struct block *block;

	if (action != MEM_ONLINE)
		return NOTIFY_OK;
	block = kmalloc(sizeof(*block), GFP_KERNEL);
	if (!block)
		return NOTIFY_OK;
	block->start = PFN_PHYS(change->start_pfn);
	block->bytes = PFN_PHYS(change->nr_pages);
	if (machine_defer(block_online, block))
		kfree(block);
	return NOTIFY_OK;
}

static struct notifier_block notifier = { .notifier_call = memory_changed };

int twin_memory_begin(void)
{
	return register_memory_notifier(&notifier);
}

void twin_memory_end(void)
{
	struct dimm *dimm, *next;

	unregister_memory_notifier(&notifier);
	machine_flush();
	list_for_each_entry_safe(dimm, next, &dimms, list)
		kfree(dimm);
}
