// SPDX-License-Identifier: MIT
/*
 * Memory: Linux brings a hot-added device online block by block (128 MiB). Drivers are notified of devices, so an
 * arrival is announced when the last block of a device is online. The memory of one device is one resource in Linux's
 * map.
 *
 * Windows never removes memory, so drivers are not notified when Linux does. A later device at the same address is
 * another device, with its own link.
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
	bool online;
};

struct dimm {
	struct list_head list;
	u64 start;
	u64 bytes;
	u64 online;
};

/* Used only by the deferred work, which runs in order. */
static LIST_HEAD(dimms);
static unsigned int removed;

struct search {
	u64 address;
	u64 start;
	u64 bytes;
	bool managed;
};

static int match(struct resource *resource, void *argument)
{
	struct search *search = argument;

	if (search->address < resource->start || search->address > resource->end)
		return 0;
	search->start = resource->start;
	search->bytes = resource_size(resource);
	search->managed = resource->flags & IORESOURCE_SYSRAM_DRIVER_MANAGED;
	return 1;
}

static struct dimm *known_dimm(u64 address)
{
	struct dimm *dimm;

	list_for_each_entry(dimm, &dimms, list)
		if (address >= dimm->start && address - dimm->start < dimm->bytes)
			return dimm;
	return NULL;
}

/* Returns NULL for memory that belongs to no device, and sets *managed if it is that of a driver of its own. */
static struct dimm *dimm_at(u64 address, bool *managed)
{
	struct search search = { .address = address };
	struct dimm *dimm;

	dimm = known_dimm(address);
	if (dimm)
		return dimm;
	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0, -1, &search, match);
	*managed = search.managed;
	if (!search.bytes || search.managed)
		return NULL;
	dimm = kzalloc(sizeof(*dimm), GFP_KERNEL);
	if (!dimm)
		return NULL;
	dimm->start = search.start;
	dimm->bytes = search.bytes;
	list_add_tail(&dimm->list, &dimms);
	return dimm;
}

static void block_offline(struct block *block)
{
	struct dimm *dimm = known_dimm(block->start);

	if (!dimm)
		return;
	dimm->online -= min(dimm->online, block->bytes);
	if (dimm->online)
		return;
	removed++;
	list_del(&dimm->list);
	kfree(dimm);
}

/* A device's number is its address, which is a multiple of the block's size: below it is room to tell two apart. */
static void block_online(struct block *block)
{
	bool managed = false;
	struct dimm *dimm = dimm_at(block->start, &managed);

	/* Such as virtio-mem's: memory without an ACPI memory device, which is not announced. */
	if (managed)
		return;
	if (!dimm) {
		pr_err("hpnotify: trouble: memory at 0x%llx belongs to no device\n", block->start);
		return;
	}
	dimm->online += block->bytes;
	if (dimm->online == dimm->bytes)
		core_memory_arrived(dimm->start + removed, dimm->bytes);
}

static void block_changed(void *context)
{
	struct block *block = context;

	if (block->online)
		block_online(block);
	else
		block_offline(block);
	kfree(block);
}

static int memory_changed(struct notifier_block *notifier, unsigned long action, void *argument)
{
	struct memory_notify *change = argument;
	struct block *block;

	if (action != MEM_ONLINE && action != MEM_OFFLINE)
		return NOTIFY_OK;
	block = kmalloc(sizeof(*block), GFP_KERNEL);
	if (!block)
		return NOTIFY_OK;
	block->start = PFN_PHYS(change->start_pfn);
	block->bytes = PFN_PHYS(change->nr_pages);
	block->online = action == MEM_ONLINE;
	if (machine_defer(block_changed, block))
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
