/* SPDX-License-Identifier: MIT */
/*
 * A running trace session's own account: its losses, which no cmdlet reports, and its two commands, flush and stop
 * (W32: evntrace/nf-evntrace-controltracew.md; the account is EVENT_TRACE_PROPERTIES).
 */
#include "hpnctl.h"

#include <wmistr.h>
#include <evntrace.h>

#define NAME_BYTES 2048

int
trace(const WCHAR *name, int flush, int stop)
{
    static struct {
        EVENT_TRACE_PROPERTIES properties;
        WCHAR session[NAME_BYTES / sizeof(WCHAR)];
        WCHAR file[NAME_BYTES / sizeof(WCHAR)];
    } about;
    static struct text out;
    EVENT_TRACE_PROPERTIES *properties = &about.properties;
    ULONG error;

    properties->Wnode.BufferSize = sizeof(about);
    properties->LoggerNameOffset = (ULONG)((char *)about.session - (char *)&about);
    properties->LogFileNameOffset = (ULONG)((char *)about.file - (char *)&about);
    error = ControlTraceW(
        0, name, properties,
        stop ? EVENT_TRACE_CONTROL_STOP : flush ? EVENT_TRACE_CONTROL_FLUSH : EVENT_TRACE_CONTROL_QUERY);
    if (error != ERROR_SUCCESS)
        return complain(REFUSED, "the trace session does not obey", "", error);
    add_text(&out, "{\"events_lost\":");
    add_decimal(&out, properties->EventsLost);
    add_text(&out, ",\"buffers_lost\":");
    add_decimal(&out, properties->LogBuffersLost);
    add_text(&out, ",\"buffers_written\":");
    add_decimal(&out, properties->BuffersWritten);
    add_text(&out, ",\"buffers\":");
    add_decimal(&out, properties->NumberOfBuffers);
    add_text(&out, "}\n");
    put(&out);
    return DONE;
}
