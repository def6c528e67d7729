// SPDX-License-Identifier: MIT
/* The module: the NT layer on this kernel, and the driver in it, which starts only when its service is started. */
#include <linux/module.h>
#include <linux/string.h>

#include "core.h"
#include "twin.h"

static int set_plant(const char *value, const struct kernel_param *parameter)
{
	char name[CORE_NAME_BYTES];

	if (strscpy(name, value, sizeof(name)) < 0)
		return -EINVAL;
	return core_plant(strim(name)) ? -EINVAL : 0;
}

static int get_plant(char *buffer, const struct kernel_param *parameter)
{
	return sysfs_emit(buffer, "%s\n", core_plant_name());
}

static const struct kernel_param_ops plant_operations = { .set = set_plant, .get = get_plant };

module_param_cb(plant, &plant_operations, NULL, 0600);
MODULE_PARM_DESC(plant, "a deviation from the documented behaviour to show; none by default");

static unsigned int group_size = 64;
module_param(group_size, uint, 0400);
MODULE_PARM_DESC(group_size, "processors in a group, 1 to 64");

static int __init twin_begin(void)
{
	int error = twin_machine_begin();

	if (error)
		return error;
	error = twin_debugger_begin();
	if (error)
		goto no_debugger;
	error = twin_processors_begin(group_size);
	if (error)
		goto no_processors;
	error = twin_memory_begin();
	if (error)
		goto no_memory;
	error = twin_device_begin();
	if (error)
		goto no_device;
	return 0;

no_device:
	twin_memory_end();
no_memory:
	twin_processors_end();
no_processors:
	twin_debugger_end();
no_debugger:
	twin_machine_end();
	return error;
}

static void __exit twin_end(void)
{
	twin_device_end();
	twin_memory_end();
	twin_processors_end();
	twin_debugger_end();
	twin_machine_end();
}

module_init(twin_begin);
module_exit(twin_end);

MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("hpnotify in the twin: a Windows driver's source on an NT layer");
