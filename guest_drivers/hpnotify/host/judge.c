/* SPDX-License-Identifier: MIT */
/*
 * The invariants of a run, judged line by line:
 *
 *   - the layer never says "trouble:";
 *   - a driver's sequence numbers have no gap;
 *   - every entry has exactly one exit, every allocation exactly one free, and there are no others;
 *   - a registration gets no callback after the call that ended it returned;
 *   - a processor's Complete or Failure comes once, after its Start.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "judge.h"

#define MOST_OPEN 256
#define MOST_REGISTRATIONS 32
#define MOST_PROCESSORS 64
#define MOST_DRIVERS 4

enum open_kind { OPEN_ENTER, OPEN_OBJECT };

struct open {
    enum open_kind kind;
    unsigned long long value;
};

struct driver {
    char name[20];
    unsigned long long sequence;
    struct open open[MOST_OPEN];
    unsigned count;
    char ended[MOST_REGISTRATIONS];
    char started[MOST_REGISTRATIONS][MOST_PROCESSORS];
};

static struct driver drivers[MOST_DRIVERS];
static unsigned long long digest;

void judge_begin(void)
{
    memset(drivers, 0, sizeof(drivers));
    digest = 14695981039346656037ULL;
}

unsigned long long judge_digest(void)
{
    return digest;
}

static void mix(const char *text, size_t length)
{
    for (; length != 0; length--)
        digest = (digest ^ (unsigned char)*text++) * 1099511628211ULL;
    digest = (digest ^ ' ') * 1099511628211ULL;
}

static const char *field(const char *line, const char *key)
{
    const char *found = strstr(line, key);

    return found != NULL ? found + strlen(key) : "";
}

static unsigned long long number(const char *line, const char *key)
{
    return strtoull(field(line, key), NULL, 0);
}

static int is(const char *line, const char *key, const char *value)
{
    size_t length = strlen(value);
    const char *found = field(line, key);

    return strncmp(found, value, length) == 0 && found[length] == ' ';
}

static struct driver *driver_of(const char *line)
{
    const char *name = field(line, " driver=");
    size_t length = strcspn(name, " ");

    for (struct driver *each = drivers; each < drivers + MOST_DRIVERS; each++) {
        if (each->name[0] == '\0')
            snprintf(each->name, sizeof(each->name), "%.*s", (int)length, name);
        if (strlen(each->name) == length && strncmp(each->name, name, length) == 0)
            return each;
    }
    return NULL;
}

static const char *begins(struct driver *driver, enum open_kind kind, unsigned long long value)
{
    for (unsigned i = 0; i < driver->count; i++)
        if (driver->open[i].kind == kind && driver->open[i].value == value)
            return "begun twice";
    if (driver->count == MOST_OPEN)
        return "too much is open";
    driver->open[driver->count].kind = kind;
    driver->open[driver->count++].value = value;
    return NULL;
}

static const char *ends(struct driver *driver, enum open_kind kind, unsigned long long value)
{
    for (unsigned i = 0; i < driver->count; i++) {
        if (driver->open[i].kind == kind && driver->open[i].value == value) {
            driver->open[i] = driver->open[--driver->count];
            return NULL;
        }
    }
    return kind == OPEN_OBJECT ? "freed, but not allocated" : "left, but not entered";
}

static const char *change(struct driver *driver, unsigned long long registration, const char *line)
{
    unsigned long long processor = number(line, " nt=");
    unsigned long long state = number(line, " state=");
    char *started;

    if (processor >= MOST_PROCESSORS)
        return "a processor beyond all";
    started = &driver->started[registration][processor];
    if (state == 0 && *started == 1)
        return "a Start after a Start";
    if (state != 0 && *started != 1)
        return "an end without a Start";
    *started = state == 0 ? 1 : state == 1 ? 2 : 0;
    return NULL;
}

/* A callback that vetoes an existing processor gets no Failure. */
static void refusal(struct driver *driver, unsigned long long registration, const char *line)
{
    unsigned long long processor = number(line, " nt=");

    if (number(line, " state=") == 0 && number(line, " op=") != 0 && processor < MOST_PROCESSORS &&
        number(line, " active=") > processor)
        driver->started[registration][processor] = 0;
}

static const char *record(const char *line)
{
    struct driver *driver = driver_of(line);
    unsigned long long registration = number(line, " reg=");
    const char *wrong = NULL;

    if (driver == NULL)
        return "more drivers than the script has";
    if (number(line, " seq=") != ++driver->sequence)
        return "a gap in the sequence";
    if (registration >= MOST_REGISTRATIONS)
        return "a registration beyond all";

    if (is(line, " ev=", "sync.enter") || is(line, " ev=", "async.enter") || is(line, " ev=", "call.enter"))
        wrong = begins(driver, OPEN_ENTER, driver->sequence);
    else if (is(line, " ev=", "sync.exit") || is(line, " ev=", "async.exit") || is(line, " ev=", "call.exit"))
        wrong = ends(driver, OPEN_ENTER, number(line, " enter="));
    else if (is(line, " ev=", "alloc"))
        wrong = begins(driver, OPEN_OBJECT, number(line, " object="));
    else if (is(line, " ev=", "free"))
        wrong = ends(driver, OPEN_OBJECT, number(line, " object="));
    if (wrong != NULL)
        return wrong;

    if (is(line, " ev=", "sync.enter") || is(line, " ev=", "async.enter")) {
        if (driver->ended[registration])
            return "a callback after its registration ended";
        if (is(line, " ev=", "sync.enter"))
            return change(driver, registration, line);
    } else if (is(line, " ev=", "sync.exit")) {
        refusal(driver, registration, line);
    } else if (is(line, " ev=", "call.exit") && (is(line, " call=", "dereg_sync") || is(line, " call=", "unreg_ex"))) {
        driver->ended[registration] = 1;
    }
    return NULL;
}

const char *judge_line(const char *line)
{
    static const char *const keys[] = { " driver=", " ev=", " reg=", " state=", " nt=", " op=", " call=", " active=" };

    if (strncmp(line, "trouble:", 8) == 0)
        return line;
    if (strncmp(line, "HPN1 ", 5) != 0) {
        mix(line, strnlen(line, 10));
        return NULL;
    }
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        mix(field(line, keys[i]), strcspn(field(line, keys[i]), " \n"));
    return record(line);
}

const char *judge_end(void)
{
    if (host_allocations() != 0)
        return "memory of the layer was never freed";
    for (struct driver *each = drivers; each < drivers + MOST_DRIVERS; each++)
        if (each->count != 0)
            return each->open[0].kind == OPEN_OBJECT ? "an object was never freed" : "something was never left";
    return NULL;
}
