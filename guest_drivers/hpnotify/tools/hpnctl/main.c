/* SPDX-License-Identifier: MIT */
/* The command line of hpnctl. */
#include "hpnctl.h"

#include <shellapi.h>

#define NO_DRIVER 1
#define FLAG(Letter) (1U << ((Letter) - 'a'))

static const char help[] =
    "hpnctl [--device NAME] COMMAND\n"
    "\n"
    "Talks to a loaded hpnotify; NAME is its service name, hpnotify by default.\n"
    "\n"
    "  status                           say whether the driver answers, and what it counted\n"
    "  stat                             say what each processor's worker did\n"
    "  events [--follow] [--json] [--seconds N]\n"
    "                                   print and take the unread records; --follow waits for more\n"
    "  veto [--nth N] [--status CODE]   refuse the Nth processor from now on (1, the next one) with an\n"
    "                                   NTSTATUS (0xC0000001); a success status takes a veto back\n"
    "  mark NONCE                       have the driver echo up to 32 letters and digits everywhere\n"
    "  watch [--json] [--seconds N]     print what applications are told (WM_DEVICECHANGE)\n"
    "  machine                          print, as JSON, what Windows counts and what the firmware says\n"
    "  trace SESSION [--flush | --stop] print, as JSON, what a trace session lost; flush it or stop it first\n"
    "  delay MILLISECONDS               how long Start takes from now on, at most 60000\n"
    "  work ITEMS                       spread items of work over the processors, at most 100000\n"
    "  register WHAT [--existing]       make a registration: sync, sync2, processors or memory\n"
    "  deregister WHAT                  end it\n"
    "  flush                            forget the unread records\n"
    "  detach                           end the Plug and Play registrations: do this before the\n"
    "                                   service is stopped, or it cannot be\n"
    "\n"
    "Exit codes: 0 done, 1 refused by the driver, 64 wrong usage, 69 no driver to talk to.\n";

struct options {
    DWORD code;
    unsigned flags;
    ULONG64 nth;
    ULONG64 status;
    ULONG64 seconds;
    ULONG64 value;
    const WCHAR *word;
};

static struct text out;

static void
row(const char *name, ULONG64 value)
{
    add_text(&out, name);
    for (int width = lstrlenA(name); width < 20; width++)
        add_text(&out, " ");
    add_decimal(&out, value);
    add_text(&out, "\n");
}

static int
statistics(HANDLE device, int of_processors)
{
    static union {
        HPNOTIFY_STATISTICS all;
        char bytes[sizeof(HPNOTIFY_STATISTICS) + 4096 * sizeof(HPNOTIFY_PROCESSOR)];
    } buffer;
    const HPNOTIFY_PROCESSOR *each = (const HPNOTIFY_PROCESSOR *)(&buffer.all + 1);
    DWORD got;
    int code = device_ask(device, IOCTL_HPNOTIFY_STATISTICS, NULL, 0, &buffer, sizeof(buffer), &got);

    if (code != DONE)
        return code;
    if (got < sizeof(buffer.all))
        return complain(REFUSED, "the driver answered with too few bytes", "", 0);
    if (!of_processors) {
        row("records", buffer.all.Records);
        row("ring unread", buffer.all.RingUnread);
        row("ring overrun", buffer.all.RingOverrun);
        row("ring capacity", buffer.all.RingCapacity);
        row("trace failures", buffer.all.TraceFailures);
        row("debug port", buffer.all.DebugPort);
        row("buffer bytes", buffer.all.BufferBytes);
        row("active processors", buffer.all.ActiveProcessors);
        row("maximum processors", buffer.all.MaximumProcessors);
        row("processor groups", buffer.all.Groups);
        row("workers", buffer.all.Workers);
        row("work refused", buffer.all.WorkRefused);
    } else {
        add_text(&out, "processor group number pending done misplaced dpcs\n");
        for (; (const char *)(each + 1) <= buffer.bytes + got; each++) {
            ULONG64 values[] = { each->NtNumber, each->Group, each->Number, each->Pending,
                                 each->Done, each->Misplaced, each->Dpcs };

            for (unsigned at = 0; at < sizeof(values) / sizeof(values[0]); at++) {
                add_text(&out, at == 0 ? "" : " ");
                add_decimal(&out, values[at]);
            }
            add_text(&out, "\n");
            if (out.length > sizeof(out.bytes) / 2)
                put(&out);
        }
    }
    put(&out);
    return DONE;
}

/* Prints the lines of one answer; skips and reports a line that is not the driver's. */
static void
print_lines(const char *bytes, DWORD length, int json)
{
    DWORD begin = 0;

    for (DWORD at = 0; at < length; at++) {
        if (bytes[at] != '\n')
            continue;
        if (!json)
            add_bytes(&out, bytes + begin, at + 1 - begin);
        else if (!record_json(&out, bytes + begin, at - begin))
            complain(DONE, "passed over a line that is no record of this version", "", 0);
        if (out.length > sizeof(out.bytes) / 2)
            put(&out);
        begin = at + 1;
    }
    put(&out);
}

static int
events(HANDLE device, const struct options *options)
{
    static char bytes[1 << 16];
    ULONGLONG end = GetTickCount64() + options->seconds * 1000;
    DWORD got;
    int code;

    for (;;) {
        code = device_ask(device, IOCTL_HPNOTIFY_READ_RING, NULL, 0, bytes, sizeof(bytes), &got);
        if (code != DONE)
            return code;
        print_lines(bytes, got, (options->flags & FLAG('j')) != 0);
        if (got != 0)
            continue;
        if (!(options->flags & FLAG('f')) || (options->seconds != 0 && GetTickCount64() >= end))
            return DONE;
        Sleep(50);
    }
}

static int
mark(HANDLE device, const struct options *options)
{
    HPNOTIFY_MARK request = { { 0 } };
    int length = lstrlenW(options->word);

    for (int at = 0; at < length; at++) {
        WCHAR byte = options->word[at];

        if (at == HPNOTIFY_NONCE_CHARACTERS || !((byte | 32) >= 'a' && (byte | 32) <= 'z') && !(byte >= '0' && byte <= '9'))
            return complain(USAGE, "a nonce is 1 to 32 letters and digits", "", 0);
        request.Nonce[at] = (char)byte;
    }
    if (length == 0)
        return complain(USAGE, "a nonce is 1 to 32 letters and digits", "", 0);
    return device_ask(device, IOCTL_HPNOTIFY_MARK, &request, sizeof(request), NULL, 0, NULL);
}

static int
registration(HANDLE device, const struct options *options)
{
    static const WCHAR *const names[] = { L"sync", L"sync2", L"processors", L"memory" };
    HPNOTIFY_REGISTRATION request = { 0, (options->flags & FLAG('e')) != 0 };

    while (request.Which < 4 && lstrcmpW(options->word, names[request.Which]) != 0)
        request.Which++;
    if (request.Which == 4)
        return complain(USAGE, "a registration is sync, sync2, processors or memory", "", 0);
    return device_ask(device, options->code, &request, sizeof(request), NULL, 0, NULL);
}

static int
do_status(HANDLE device, const struct options *options)
{
    (void)options;
    return statistics(device, 0);
}

static int
do_stat(HANDLE device, const struct options *options)
{
    (void)options;
    return statistics(device, 1);
}

static int
do_veto(HANDLE device, const struct options *options)
{
    HPNOTIFY_VETO request = { (ULONG)options->status, (ULONG)options->nth };

    return device_ask(device, IOCTL_HPNOTIFY_VETO, &request, sizeof(request), NULL, 0, NULL);
}

static int
do_watch(HANDLE device, const struct options *options)
{
    (void)device;
    return watch((options->flags & FLAG('j')) != 0, (DWORD)options->seconds);
}

static int
do_machine(HANDLE device, const struct options *options)
{
    (void)device;
    (void)options;
    return machine();
}

static int
do_trace(HANDLE device, const struct options *options)
{
    (void)device;
    return trace(options->word, (options->flags & FLAG('l')) != 0, (options->flags & FLAG('o')) != 0);
}

/* A request whose only field is a number, or that has none. */

static int
send_value(HANDLE device, const struct options *options)
{
    ULONG request = (ULONG)options->value;

    C_ASSERT(sizeof(HPNOTIFY_DELAY) == sizeof(request) && sizeof(HPNOTIFY_WORK) == sizeof(request));
    return device_ask(device, options->code, &request, sizeof(request), NULL, 0, NULL);
}

static int
send_nothing(HANDLE device, const struct options *options)
{
    return device_ask(device, options->code, NULL, 0, NULL, 0, NULL);
}

static const struct command {
    const WCHAR *name;
    int (*run)(HANDLE device, const struct options *options);
    /* The request that `run` sends, where it can send several. */
    DWORD code;
    /* Its options, and the largest number for its argument: 0 for a word, ~0 for no argument. */
    unsigned flags;
    ULONG64 argument;
    int no_driver;
} commands[] = {
    { L"status", do_status, 0, 0, ~0ULL, 0 },
    { L"stat", do_stat, 0, 0, ~0ULL, 0 },
    { L"events", events, 0, FLAG('f') | FLAG('j') | FLAG('t'), ~0ULL, 0 },
    { L"veto", do_veto, 0, FLAG('n') | FLAG('s'), ~0ULL, 0 },
    { L"mark", mark, 0, 0, 0, 0 },
    { L"watch", do_watch, 0, FLAG('j') | FLAG('t'), ~0ULL, NO_DRIVER },
    { L"machine", do_machine, 0, 0, ~0ULL, NO_DRIVER },
    { L"trace", do_trace, 0, FLAG('l') | FLAG('o'), 0, NO_DRIVER },
    { L"delay", send_value, IOCTL_HPNOTIFY_DELAY, 0, HPNOTIFY_MOST_DELAY, 0 },
    { L"work", send_value, IOCTL_HPNOTIFY_WORK, 0, HPNOTIFY_MOST_WORK, 0 },
    { L"register", registration, IOCTL_HPNOTIFY_REGISTER, FLAG('e'), 0, 0 },
    { L"deregister", registration, IOCTL_HPNOTIFY_DEREGISTER, 0, 0, 0 },
    { L"flush", send_nothing, IOCTL_HPNOTIFY_FLUSH, 0, ~0ULL, 0 },
    { L"detach", send_nothing, IOCTL_HPNOTIFY_DETACH, 0, ~0ULL, 0 },
};

static const struct option {
    const WCHAR *name;
    char letter;
    ULONG64 most;
} names[] = {
    { L"--flush", 'l', 0 }, { L"--stop", 'o', 0 }, { L"--follow", 'f', 0 }, { L"--json", 'j', 0 }, { L"--existing", 'e', 0 },
    { L"--nth", 'n', 0xFFFFFFFF }, { L"--status", 's', 0xFFFFFFFF }, { L"--seconds", 't', 86400 },
};

static int
misused(const char *what, const WCHAR *word)
{
    char shown[128] = "";

    WideCharToMultiByte(CP_UTF8, 0, word, -1, shown, sizeof(shown) - 1, NULL, NULL);
    complain(USAGE, what, shown, 0);
    return complain(USAGE, "'hpnctl --help' shows what there is", "", 0);
}

/* Reads the words after the command. */
static int
parse(const struct command *command, WCHAR **words, int count, struct options *options)
{
    int arguments = 0;

    for (int at = 0; at < count; at++) {
        const struct option *option = NULL;
        ULONG64 value = 0;

        for (unsigned name = 0; name < sizeof(names) / sizeof(names[0]); name++) {
            if (lstrcmpW(words[at], names[name].name) == 0 && command->flags & FLAG(names[name].letter))
                option = &names[name];
        }
        if (option == NULL && words[at][0] == L'-' && words[at][1] == L'-')
            return misused("no such option of this command: ", words[at]);
        if (option == NULL) {
            if (command->argument == ~0ULL || arguments++ != 0)
                return misused("one word too many: ", words[at]);
            options->word = words[at];
            if (command->argument != 0 && !number(words[at], command->argument, &options->value))
                return misused("no number, or too large a one: ", words[at]);
            continue;
        }
        options->flags |= FLAG(option->letter);
        if (option->most == 0)
            continue;
        if (at + 1 == count || !number(words[++at], option->most, &value))
            return misused("it takes a number: ", option->name);
        if (option->letter == 'n')
            options->nth = value;
        else if (option->letter == 's')
            options->status = value;
        else
            options->seconds = value;
    }
    if (command->argument != ~0ULL && arguments == 0)
        return misused("it takes an argument: ", command->name);
    return DONE;
}

static int
run(WCHAR **words, int count)
{
    struct options options = { .nth = 1, .status = 0xC0000001, .word = L"" };
    const WCHAR *name = L"hpnotify";
    HANDLE device = NULL;
    int at = 1;
    int code;

    for (int word = 1; word < count; word++) {
        if (lstrcmpW(words[word], L"--help") == 0 || lstrcmpW(words[word], L"-h") == 0 || lstrcmpW(words[word], L"/?") == 0) {
            add_text(&out, help);
            put(&out);
            return DONE;
        }
    }
    if (at + 1 < count && lstrcmpW(words[at], L"--device") == 0) {
        name = words[at + 1];
        at += 2;
    }
    if (at >= count)
        return misused("say what to do", L"");
    for (unsigned each = 0; each < sizeof(commands) / sizeof(commands[0]); each++) {
        const struct command *command = &commands[each];

        if (lstrcmpW(words[at], command->name) != 0)
            continue;
        options.code = command->code;
        code = parse(command, words + at + 1, count - at - 1, &options);
        if (code == DONE && !command->no_driver)
            code = device_open(name, &device);
        if (code == DONE)
            code = command->run(device, &options);
        if (device != NULL && device != INVALID_HANDLE_VALUE)
            CloseHandle(device);
        return code;
    }
    return misused("no such command: ", words[at]);
}

/* Where Windows enters the program. */
void
entry(void)
{
    int count = 0;
    WCHAR **words = CommandLineToArgvW(GetCommandLineW(), &count);

    ExitProcess((UINT)(words != NULL ? run(words, count) : complain(REFUSED, "no memory", "", GetLastError())));
}
