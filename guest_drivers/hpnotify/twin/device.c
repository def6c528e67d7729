// SPDX-License-Identifier: MIT
/* /dev/nt: the service control manager and the I/O control requests. Only for root. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "control.h"
#include "twin.h"

static bool named(const char *name)
{
	return memchr(name, '\0', CORE_NAME_BYTES);
}

static long start(struct twin_start __user *argument)
{
	struct twin_start *request = memdup_user(argument, sizeof(*request));
	unsigned int i;
	long error = -EINVAL;

	if (IS_ERR(request))
		return PTR_ERR(request);
	if (!named(request->name) || request->count > CORE_VALUES)
		goto out;
	for (i = 0; i < request->count; i++)
		if (!named(request->values[i].name))
			goto out;

	/* A running driver keeps its module. */
	error = -ENODEV;
	if (!try_module_get(THIS_MODULE))
		goto out;
	request->status = core_service_start(request->name, request->values, request->count);
	if (request->status < 0)
		module_put(THIS_MODULE);
	error = put_user(request->status, &argument->status);
out:
	kfree(request);
	return error;
}

static long stop(struct twin_stop __user *argument)
{
	struct twin_stop request;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (!named(request.name))
		return -EINVAL;
	request.status = core_service_stop(request.name);
	if (request.status >= 0)
		module_put(THIS_MODULE);
	return put_user(request.status, &argument->status);
}

static long rebalance(struct twin_stop __user *argument)
{
	struct twin_stop request;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (!named(request.name))
		return -EINVAL;
	return put_user(core_service_rebalance(request.name), &argument->status);
}

static long device_control(struct twin_device_control __user *argument)
{
	struct twin_device_control request;
	void *input = NULL;
	void *output = NULL;
	unsigned long information = 0;
	long error = -ENOMEM;

	if (copy_from_user(&request, argument, sizeof(request)))
		return -EFAULT;
	if (!named(request.name) || request.input_bytes > TWIN_BUFFER_BYTES ||
	    request.output_bytes > TWIN_BUFFER_BYTES)
		return -EINVAL;

	if (request.input_bytes) {
		input = memdup_user(u64_to_user_ptr(request.input), request.input_bytes);
		if (IS_ERR(input))
			return PTR_ERR(input);
	}
	if (request.output_bytes) {
		output = kzalloc(request.output_bytes, GFP_KERNEL);
		if (!output)
			goto out;
	}

	request.status = core_service_control(request.name, request.code, input, request.input_bytes, output,
					      request.output_bytes, &information);
	request.information = information;
	error = -EFAULT;
	if (information && copy_to_user(u64_to_user_ptr(request.output), output, information))
		goto out;
	if (copy_to_user(argument, &request, sizeof(request)))
		goto out;
	error = 0;
out:
	kfree(output);
	kfree(input);
	return error;
}

static long twin_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	switch (command) {
	case TWIN_START:
		return start((struct twin_start __user *)argument);
	case TWIN_STOP:
		return stop((struct twin_stop __user *)argument);
	case TWIN_REBALANCE:
		return rebalance((struct twin_stop __user *)argument);
	case TWIN_DEVICE_CONTROL:
		return device_control((struct twin_device_control __user *)argument);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = twin_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "nt",
	.fops = &operations,
	.mode = 0600,
};

int twin_device_begin(void)
{
	return misc_register(&device);
}

void twin_device_end(void)
{
	misc_deregister(&device);
}
