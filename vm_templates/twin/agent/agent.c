// SPDX-License-Identifier: MIT
/*
 * The twin's init process. It loads the module, brings every hot-added processor and memory block online at its uevent,
 * and obeys orders on the second serial port.
 *
 * The control protocol consists of ASCII lines of at most 512 bytes, newline included:
 *
 *   host    ID VERB key=value ...
 *   guest   ID ok key=value ...          or   ID err MESSAGE
 *   guest   ! EVENT key=value ...        at any time
 *
 * Events: boot-option, driver, driver-failed, ready, online, online-failed (the driver refused the processor), memory, memory-failed.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "control.h"

/* The fixed-size types and the macro that the driver's public header expects from its includer. */
typedef uint32_t ULONG;
typedef uint64_t ULONG64;
typedef char CHAR;
#define METHOD_BUFFERED 0
#define FILE_READ_ACCESS 1
#define FILE_WRITE_ACCESS 2
#define CTL_CODE(DeviceType, Function, Method, Access) \
	(((uint32_t)(DeviceType) << 16) | ((Access) << 14) | ((Function) << 2) | (Method))
#include "public.h"

/* The status for a driver without a control device: STATUS_DEVICE_NOT_READY. */
#define DEVICE_NOT_READY 0xC00000A3U

#define LINE_BYTES 512
#define ARGUMENTS 16

static int control = -1;
static int nt = -1;

/* Write one line in one call, so that the lines of two processes never mix. */
__attribute__((format(printf, 1, 2)))
static void say(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;
	int length;
	ssize_t written;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	if (length > (int)sizeof(line) - 2)
		length = sizeof(line) - 2;
	line[length++] = '\n';
	for (int done = 0; done < length; done += written) {
		written = write(control, line + done, length - done);
		if (written <= 0)
			return;
	}
}

/* Report a fatal error on the console and exit, which makes the kernel panic. */
__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *format, ...)
{
	va_list arguments;
	FILE *console = fopen("/dev/console", "w");

	va_start(arguments, format);
	if (console) {
		fprintf(console, "agent: ");
		vfprintf(console, format, arguments);
		fprintf(console, ": %s\n", strerror(errno));
		fclose(console);
	}
	va_end(arguments);
	exit(1);
}

static int write_file(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;
	int error;

	if (file < 0)
		return errno;
	written = write(file, text, strlen(text));
	error = written < 0 ? errno : 0;
	close(file);
	return error;
}

static void mount_all(void)
{
	mkdir("/dev", 0755);
	mkdir("/proc", 0555);
	mkdir("/sys", 0555);
	if (mount("dev", "/dev", "devtmpfs", 0, NULL) != 0 && errno != EBUSY)
		die("cannot mount /dev");
	if (mount("proc", "/proc", "proc", 0, NULL) != 0)
		die("cannot mount /proc");
	if (mount("sys", "/sys", "sysfs", 0, NULL) != 0)
		die("cannot mount /sys");
}

static void open_control(void)
{
	struct termios raw;

	control = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (control < 0)
		die("cannot open /dev/ttyS1");
	if (tcgetattr(control, &raw) != 0)
		die("/dev/ttyS1");
	cfmakeraw(&raw);
	cfsetspeed(&raw, B115200);
	raw.c_cflag |= CLOCAL;
	if (tcsetattr(control, TCSANOW, &raw) != 0)
		die("/dev/ttyS1");
}

static void read_file(const char *path, char *text, size_t bytes)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? 0 : read(file, text, bytes - 1);

	if (file >= 0)
		close(file);
	text[length < 0 ? 0 : length] = '\0';
}

/* The module's parameters are on the kernel's command line, each with the prefix "hpnotify.". */
static void module_parameters(char *parameters, size_t bytes)
{
	static const char prefix[] = "hpnotify.";
	char line[2048];
	size_t used = 0;

	parameters[0] = '\0';
	read_file("/proc/cmdline", line, sizeof(line));
	for (char *word = strtok(line, " \n"); word && used < bytes; word = strtok(NULL, " \n"))
		if (strncmp(word, prefix, sizeof(prefix) - 1) == 0)
			used += snprintf(parameters + used, bytes - used, "%s ", word + sizeof(prefix) - 1);
}

static void insert_module(void)
{
	int file = open("/hpnotify.ko", O_RDONLY | O_CLOEXEC);
	char parameters[256];

	if (file < 0)
		die("cannot open /hpnotify.ko");
	module_parameters(parameters, sizeof(parameters));
	if (syscall(SYS_finit_module, file, parameters, 0) != 0)
		die("cannot load /hpnotify.ko");
	close(file);
	nt = open("/dev/nt", O_RDWR | O_CLOEXEC);
	if (nt < 0)
		die("cannot open /dev/nt");
}

/* Insert the kernel's own drivers for additional devices. A missing module is built in, or does not exist. */
static void insert_drivers(void)
{
	static const char prefix[] = "agent.drivers=";
	char line[2048];
	char path[128];
	char *names = NULL;
	int file;

	read_file("/proc/cmdline", line, sizeof(line));
	for (char *word = strtok(line, " \n"); word && !names; word = strtok(NULL, " \n"))
		if (strncmp(word, prefix, sizeof(prefix) - 1) == 0)
			names = word + sizeof(prefix) - 1;
	for (char *name = names ? strtok(names, ",") : NULL; name; name = strtok(NULL, ",")) {
		snprintf(path, sizeof(path), "/drivers/%s.ko", name);
		file = open(path, O_RDONLY | O_CLOEXEC);
		if (file < 0)
			continue;
		if (syscall(SYS_finit_module, file, "", 0) == 0)
			say("! driver name=%s", name);
		else
			say("! driver-failed name=%s error=%s", name, strerrorname_np(errno));
		close(file);
	}
}

/* Report small groups, like Windows' boot option: the checker must know the size. */
static void tell_group_size(void)
{
	char text[16];

	read_file("/sys/module/hpnotify/parameters/group_size", text, sizeof(text));
	if (atoi(text) != 64)
		say("! boot-option groupsize=%d", atoi(text));
}

static int open_uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int size = 1 << 20;
	int file = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (file < 0 || bind(file, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("cannot listen for uevents");
	setsockopt(file, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return file;
}

static unsigned long long memory_bytes(void)
{
	struct sysinfo information;

	sysinfo(&information);
	return (unsigned long long)information.totalram * information.mem_unit;
}

/*
 * Hot-added devices. A child brings each online, so that a slow driver does not delay the others. Memory goes to the zone
 * from which it can be removed again (Linux: admin-guide/mm/memory-hotplug.rst).
 */

static void put_into_use(const char *kind, const char *what, const char *path, const char *word)
{
	int error;

	if (fork() != 0)
		return;
	error = write_file(path, word);
	if (!error)
		say("! %s %s", kind, what);
	else
		say("! %s-failed %s error=%s", kind, what, strerrorname_np(error));
	_exit(0);
}

static void new_processor(unsigned number)
{
	char path[64];
	char what[32];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", number);
	snprintf(what, sizeof(what), "cpu=%u", number);
	put_into_use("online", what, path, "1");
}

static void new_memory(unsigned number)
{
	char path[64];
	char what[32];

	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%u/state", number);
	snprintf(what, sizeof(what), "block=%u", number);
	put_into_use("memory", what, path, "online_movable");
}

/* Devices that were added before the kernel handled ACPI events exist but are offline: there was no uevent. */
static void use_what_is_there(const char *folder, const char *name, const char *leaf, const char *word)
{
	DIR *all = opendir(folder);
	struct dirent *each;
	char path[512];
	unsigned number;
	int end;

	while (all && (each = readdir(all))) {
		end = 0;
		if (strncmp(each->d_name, name, strlen(name)) != 0 ||
		    sscanf(each->d_name + strlen(name), "%u%n", &number, &end) != 1 ||
		    each->d_name[strlen(name) + end] != '\0')
			continue;
		snprintf(path, sizeof(path), "%s/%s/%s", folder, each->d_name, leaf);
		/* Fails for a device that is online already. */
		write_file(path, word);
	}
	if (all)
		closedir(all);
}

static void uevent(int events)
{
	char message[8192];
	ssize_t length = recv(events, message, sizeof(message) - 1, 0);
	unsigned number;
	int end = 0;

	if (length <= 0)
		return;
	message[length] = '\0';
	if (sscanf(message, "add@/devices/system/cpu/cpu%u%n", &number, &end) == 1 && message[end] == '\0')
		new_processor(number);
	else if (sscanf(message, "add@/devices/system/memory/memory%u%n", &number, &end) == 1 && message[end] == '\0')
		new_memory(number);
}

/* Orders. */

struct order {
	const char *id;
	const char *verb;
	int count;
	const char *keys[ARGUMENTS];
	const char *values[ARGUMENTS];
};

static const char *value(const struct order *order, const char *key, const char *otherwise)
{
	for (int i = 0; i < order->count; i++)
		if (strcmp(order->keys[i], key) == 0)
			return order->values[i];
	return otherwise;
}

static int number(const struct order *order, const char *key, unsigned otherwise, unsigned *result)
{
	const char *text = value(order, key, NULL);
	unsigned long long parsed;
	char *end;

	*result = otherwise;
	if (!text)
		return 0;
	errno = 0;
	parsed = strtoull(text, &end, 0);
	if (!isdigit((unsigned char)*text) || *end || errno || parsed > UINT32_MAX) {
		say("%s err %s=%s is not a 32-bit number", order->id, key, text);
		return -1;
	}
	*result = (unsigned)parsed;
	return 0;
}

static int copy_name(const struct order *order, char name[CORE_NAME_BYTES])
{
	const char *driver = value(order, "driver", "hpnotify");

	memset(name, 0, CORE_NAME_BYTES);
	if (!*driver || strlen(driver) >= CORE_NAME_BYTES) {
		say("%s err driver=%s is not a service name", order->id, driver);
		return -1;
	}
	memcpy(name, driver, strlen(driver));
	return 0;
}

static void add_value(struct twin_start *request, const char *name, unsigned value)
{
	struct core_value *each = &request->values[request->count++];

	snprintf(each->name, sizeof(each->name), "%s", name);
	each->value = value;
}

static void order_ping(const struct order *order)
{
	say("%s ok nonce=%s", order->id, value(order, "nonce", ""));
}

static void order_counts(const struct order *order)
{
	say("%s ok processors=%ld memory=%llu", order->id, sysconf(_SC_NPROCESSORS_ONLN), memory_bytes());
}

static void order_load(const struct order *order)
{
	struct twin_start request = { 0 };
	unsigned add_existing;
	unsigned include_existing;
	unsigned second;
	unsigned ring;
	unsigned debug_port;
	unsigned pnp;
	unsigned opt_out;
	unsigned veto;
	const char *plant = value(order, "plant", NULL);

	if (copy_name(order, request.name) || number(order, "add_existing", 1, &add_existing) ||
	    number(order, "include_existing", 0, &include_existing) || number(order, "second", 0, &second) ||
	    number(order, "ring", 1024, &ring) || number(order, "debug_port", 0x504, &debug_port) ||
	    number(order, "pnp", 0, &pnp) || number(order, "opt_out", 0, &opt_out) || number(order, "veto", 0, &veto))
		return;
	if (plant && write_file("/sys/module/hpnotify/parameters/plant", plant)) {
		say("%s err plant=%s: there is no such fault", order->id, plant);
		return;
	}
	add_value(&request, "AddExisting", add_existing);
	add_value(&request, "IncludeExisting", include_existing);
	add_value(&request, "SecondRegistration", second);
	add_value(&request, "RingRecords", ring);
	add_value(&request, "DebugPort", debug_port);
	add_value(&request, "PlugAndPlay", pnp);
	add_value(&request, "RebalanceOptOut", opt_out);
	add_value(&request, "Veto", veto);
	if (ioctl(nt, TWIN_START, &request) != 0)
		say("%s err start: %s", order->id, strerror(errno));
	else if (request.status < 0)
		say("%s err DriverEntry returned 0x%08x", order->id, request.status);
	else
		say("%s ok", order->id);
}

static int exchange(const struct order *order, uint32_t code, const void *input, uint32_t input_bytes, void *output,
		    uint32_t output_bytes, uint32_t *information)
{
	struct twin_device_control request = {
		.code = code,
		.input_bytes = input_bytes,
		.output_bytes = output_bytes,
		.input = (uintptr_t)input,
		.output = (uintptr_t)output,
	};

	if (copy_name(order, request.name))
		return -1;
	if (ioctl(nt, TWIN_DEVICE_CONTROL, &request) != 0) {
		say("%s err device control: %s", order->id, strerror(errno));
		return -1;
	}
	if (request.status < 0) {
		say("%s err %s answered 0x%08x", order->id, request.name, request.status);
		return -1;
	}
	if (information)
		*information = request.information;
	return 0;
}

static int device_control(const struct order *order, uint32_t code, const void *input, uint32_t input_bytes)
{
	return exchange(order, code, input, input_bytes, NULL, 0, NULL);
}

/* Make the driver end its Plug and Play registrations. Another driver may have no control device. */
static int detach(const struct order *order)
{
	struct twin_device_control request = { .code = IOCTL_HPNOTIFY_DETACH };

	if (copy_name(order, request.name))
		return -1;
	if (ioctl(nt, TWIN_DEVICE_CONTROL, &request) == 0 && (uint32_t)request.status == DEVICE_NOT_READY)
		return 0;
	return device_control(order, IOCTL_HPNOTIFY_DETACH, NULL, 0);
}

/* As on Windows: the driver first ends its Plug and Play registrations, then its service is stopped. */
static void order_unload(const struct order *order)
{
	struct twin_stop request = { 0 };

	if (copy_name(order, request.name) || detach(order))
		return;
	if (ioctl(nt, TWIN_STOP, &request) != 0)
		say("%s err stop: %s", order->id, strerror(errno));
	else if (request.status < 0)
		say("%s err stop: 0x%08x", order->id, request.status);
	else
		say("%s ok", order->id);
}

static void order_rebalance(const struct order *order)
{
	struct twin_stop request = { 0 };

	if (copy_name(order, request.name))
		return;
	if (ioctl(nt, TWIN_REBALANCE, &request) != 0)
		say("%s err rebalance: %s", order->id, strerror(errno));
	else if (request.status < 0)
		say("%s err rebalance: 0x%08x", order->id, request.status);
	else
		say("%s ok", order->id);
}

static void order_veto(const struct order *order)
{
	HPNOTIFY_VETO veto;

	if (number(order, "status", 0xC000009A, &veto.Status) || number(order, "nth", 1, &veto.Nth))
		return;
	if (!device_control(order, IOCTL_HPNOTIFY_VETO, &veto, sizeof(veto)))
		say("%s ok", order->id);
}

static void order_mark(const struct order *order)
{
	HPNOTIFY_MARK mark = { { 0 } };
	const char *nonce = value(order, "nonce", "");

	if (!*nonce || strlen(nonce) > sizeof(mark.Nonce)) {
		say("%s err nonce=%s must be 1 to %zu letters and digits", order->id, nonce, sizeof(mark.Nonce));
		return;
	}
	memcpy(mark.Nonce, nonce, strlen(nonce));
	if (!device_control(order, IOCTL_HPNOTIFY_MARK, &mark, sizeof(mark)))
		say("%s ok", order->id);
}

static void order_delay(const struct order *order)
{
	HPNOTIFY_DELAY delay;

	if (!number(order, "ms", 0, &delay.Milliseconds) &&
	    !device_control(order, IOCTL_HPNOTIFY_DELAY, &delay, sizeof(delay)))
		say("%s ok", order->id);
}

static void change_registration(const struct order *order, uint32_t code)
{
	HPNOTIFY_REGISTRATION registration;

	if (number(order, "which", 0, &registration.Which) || number(order, "flags", 0, &registration.Flags))
		return;
	if (!device_control(order, code, &registration, sizeof(registration)))
		say("%s ok", order->id);
}

static void order_register(const struct order *order)
{
	change_registration(order, IOCTL_HPNOTIFY_REGISTER);
}

static void order_deregister(const struct order *order)
{
	change_registration(order, IOCTL_HPNOTIFY_DEREGISTER);
}

static void order_work(const struct order *order)
{
	HPNOTIFY_WORK work;

	if (!number(order, "items", 1, &work.Items) && !device_control(order, IOCTL_HPNOTIFY_WORK, &work, sizeof(work)))
		say("%s ok", order->id);
}

static void order_flush(const struct order *order)
{
	if (!device_control(order, IOCTL_HPNOTIFY_FLUSH, NULL, 0))
		say("%s ok", order->id);
}

static void order_statistics(const struct order *order)
{
	struct {
		HPNOTIFY_STATISTICS all;
		HPNOTIFY_PROCESSOR each[64];
	} answer;
	char done[128] = "";
	uint64_t misplaced = 0;
	uint64_t dpcs = 0;
	uint32_t bytes;
	size_t length = 0;
	size_t count;

	if (exchange(order, IOCTL_HPNOTIFY_STATISTICS, NULL, 0, &answer, sizeof(answer), &bytes))
		return;
	count = (bytes - sizeof(answer.all)) / sizeof(answer.each[0]);
	for (size_t i = 0; i < count; i++) {
		if (length < sizeof(done))
			length += snprintf(done + length, sizeof(done) - length, "%s%llu", i ? "," : "",
					   (unsigned long long)answer.each[i].Done);
		misplaced += answer.each[i].Misplaced;
		dpcs += answer.each[i].Dpcs;
	}
	say("%s ok records=%llu unread=%llu overrun=%llu buffer=%llu workers=%u done=%s dpcs=%llu misplaced=%llu "
	    "trace_failures=%llu refused=%llu",
	    order->id, (unsigned long long)answer.all.Records, (unsigned long long)answer.all.RingUnread,
	    (unsigned long long)answer.all.RingOverrun, (unsigned long long)answer.all.BufferBytes, answer.all.Workers,
	    done, (unsigned long long)dpcs, (unsigned long long)misplaced, (unsigned long long)answer.all.TraceFailures,
	    (unsigned long long)answer.all.WorkRefused);
}

static uint32_t crc32(uint32_t crc, const char *bytes, size_t length)
{
	crc = ~crc;
	while (length--) {
		crc ^= (unsigned char)*bytes++;
		for (int i = 0; i < 8; i++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320 : 0);
	}
	return ~crc;
}

/* Read the ring to its end and answer with a checksum, since its lines are too long and too many for this port. */
static void order_ring(const struct order *order)
{
	static char lines[TWIN_BUFFER_BYTES];
	unsigned long count = 0;
	unsigned long total = 0;
	uint32_t crc = 0;
	uint32_t bytes;

	do {
		if (exchange(order, IOCTL_HPNOTIFY_READ_RING, NULL, 0, lines, sizeof(lines), &bytes))
			return;
		for (uint32_t i = 0; i < bytes; i++)
			count += lines[i] == '\n';
		crc = crc32(crc, lines, bytes);
		total += bytes;
	} while (bytes);
	say("%s ok lines=%lu bytes=%lu crc=%08x", order->id, count, total, crc);
}

static void keep_busy(time_t end)
{
	const size_t bytes = 1 << 20;
	char *memory;

	while (time(NULL) < end) {
		memory = malloc(bytes);
		if (memory)
			memset(memory, 0xA5, bytes);
		free(memory);
	}
}

/* Start two processes for each present processor, so that processors added later are busy too. */
static void order_busy(const struct order *order)
{
	unsigned seconds;

	if (number(order, "seconds", 1, &seconds))
		return;
	for (long left = 2 * sysconf(_SC_NPROCESSORS_ONLN); left; left--) {
		if (fork() == 0) {
			/* Otherwise the module would be in use for as long as this child lives. */
			close(nt);
			keep_busy(time(NULL) + seconds);
			_exit(0);
		}
	}
	say("%s ok", order->id);
}

/* Write one line endlessly, as a guest can do to fill its host's disk. */
static void flood_file(const char *path, const char *line)
{
	int file = open(path, O_WRONLY | O_NOCTTY);

	while (file >= 0)
		if (write(file, line, strlen(line)) < 0)
			break;
}

static void flood_port(unsigned short port, const char *line)
{
	if (ioperm(port, 1, 1) != 0)
		return;
	for (;;)
		for (const char *byte = line; *byte; byte++)
			outb((unsigned char)*byte, port);
}

static void order_flood(const struct order *order)
{
	const char *channel = value(order, "channel", "");
	int console = strcmp(channel, "console") == 0;
	int port = strcmp(channel, "port") == 0;

	if (!console && !port && strcmp(channel, "control") != 0) {
		say("%s err channel=%s: console, port or control", order->id, channel);
		return;
	}
	if (fork() == 0) {
		close(nt);
		if (console)
			flood_file("/dev/ttyS0", "hpnotify: trouble: flood\n");
		else if (port)
			flood_port(0x504, "flood\n");
		for (unsigned long count = 0;; count++)
			say("! flood n=%lu", count);
	}
	say("%s ok", order->id);
}

/*
 * Set the answer to unplug requests from now on. The kernel itself refuses all of them if hot-plug is switched off (Linux:
 * Documentation/ABI/testing/sysfs-firmware-acpi, hotplug), and receives none while the general purpose events of
 * processors and memory, 2 and 3, are masked (the same, interrupts).
 */
static const char *const answers[] = { "give", "refuse", "ignore" };

static int answer_unplugs(int answer)
{
	static const char *const handlers[] = { "processor", "memory" };
	static const char *const events[] = { "gpe02", "gpe03" };
	char path[96];
	int error;

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/sys/firmware/acpi/hotplug/%s/enabled", handlers[i]);
		error = write_file(path, answer == 1 ? "0" : "1");
		if (error)
			return error;
		snprintf(path, sizeof(path), "/sys/firmware/acpi/interrupts/%s", events[i]);
		error = write_file(path, answer == 2 ? "mask\n" : "unmask\n");
		/* The kernel refuses to mask or unmask an event twice. */
		if (error && error != EINVAL)
			return error;
	}
	return 0;
}

static void order_unplugs(const struct order *order)
{
	const char *wanted = value(order, "answer", "");
	unsigned late;
	int answer = 0;
	int error;

	while (answer < 3 && strcmp(answers[answer], wanted) != 0)
		answer++;
	if (answer == 3) {
		say("%s err answer=%s must be one of give, refuse, ignore", order->id, wanted);
		return;
	}
	if (number(order, "ms", 0, &late))
		return;
	/* A late answer: ignore requests until then. */
	error = answer_unplugs(late ? 2 : answer);
	if (error) {
		say("%s err unplugs: %s", order->id, strerror(error));
		return;
	}
	if (late && fork() == 0) {
		close(nt);
		usleep(late * 1000);
		answer_unplugs(answer);
		_exit(0);
	}
	say("%s ok", order->id);
}

/* Remove the module from the kernel and insert it again. The module reports on the console what it left behind. */
static void order_reinsert(const struct order *order)
{
	close(nt);
	if (syscall(SYS_delete_module, "hpnotify", O_NONBLOCK) != 0) {
		nt = open("/dev/nt", O_RDWR | O_CLOEXEC);
		say("%s err the module is in use: %s", order->id, strerror(errno));
		return;
	}
	insert_module();
	say("%s ok", order->id);
}

static void order_panic(const struct order *order)
{
	say("%s ok", order->id);
	tcdrain(control);
	write_file("/proc/sysrq-trigger", "c");
}

static void order_hang(const struct order *order)
{
	say("%s ok", order->id);
	for (;;)
		pause();
}

static const struct {
	const char *verb;
	void (*handle)(const struct order *order);
} orders[] = {
	{ "ping", order_ping }, { "counts", order_counts }, { "load", order_load }, { "unload", order_unload },
	{ "rebalance", order_rebalance },
	{ "veto", order_veto }, { "mark", order_mark }, { "delay", order_delay }, { "register", order_register },
	{ "deregister", order_deregister }, { "work", order_work }, { "statistics", order_statistics },
	{ "ring", order_ring }, { "flush", order_flush }, { "busy", order_busy }, { "flood", order_flood }, { "reinsert", order_reinsert },
	{ "panic", order_panic }, { "hang", order_hang }, { "unplugs", order_unplugs },
};

static void obey(char *line)
{
	struct order order = { .id = strtok(line, " ") };
	char *word;
	char *equals;

	order.verb = strtok(NULL, " ");
	if (!order.id || !order.verb)
		return;
	while ((word = strtok(NULL, " "))) {
		equals = strchr(word, '=');
		if (!equals || order.count == ARGUMENTS) {
			say("%s err '%s' is not key=value, or one too many", order.id, word);
			return;
		}
		*equals = '\0';
		order.keys[order.count] = word;
		order.values[order.count++] = equals + 1;
	}
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		if (strcmp(orders[i].verb, order.verb) == 0) {
			orders[i].handle(&order);
			return;
		}
	}
	say("%s err unknown verb '%s'", order.id, order.verb);
}

/* Collect bytes into lines. A line that is too long is skipped to its end and refused once. */
static void orders_arrived(void)
{
	static char line[LINE_BYTES];
	static size_t length;
	static int skipping;
	char bytes[256];
	ssize_t count = read(control, bytes, sizeof(bytes));

	for (ssize_t i = 0; i < count; i++) {
		if (bytes[i] == '\n') {
			line[length] = '\0';
			if (skipping)
				say("? err a line is longer than %d bytes", LINE_BYTES);
			else if (length)
				obey(line);
			length = 0;
			skipping = 0;
		} else if (length == sizeof(line) - 1) {
			skipping = 1;
		} else if (isprint((unsigned char)bytes[i])) {
			line[length++] = bytes[i];
		}
	}
}

int main(void)
{
	struct pollfd files[2];
	struct utsname name;

	mount_all();
	open_control();
	files[0] = (struct pollfd){ .fd = open_uevents(), .events = POLLIN };
	files[1] = (struct pollfd){ .fd = control, .events = POLLIN };
	use_what_is_there("/sys/devices/system/cpu", "cpu", "online", "1");
	use_what_is_there("/sys/devices/system/memory", "memory", "state", "online_movable");
	insert_module();
	insert_drivers();
	tell_group_size();

	/* The kernel reaps the children. */
	signal(SIGCHLD, SIG_IGN);
	uname(&name);
	say("! ready kernel=%s processors=%ld memory=%llu", name.release, sysconf(_SC_NPROCESSORS_ONLN), memory_bytes());

	for (;;) {
		if (poll(files, 2, -1) < 0)
			continue;
		if (files[0].revents)
			uevent(files[0].fd);
		if (files[1].revents)
			orders_arrived();
	}
}
