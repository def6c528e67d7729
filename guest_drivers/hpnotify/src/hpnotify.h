/* SPDX-License-Identifier: MIT */
/*
 * The driver's state. One HPN_DRIVER exists per loaded driver, as the context of its WDFDRIVER; there is no writable
 * global, so that all state of the driver is declared here. A module below (log, sync and so on) does not know this
 * structure: it gets what it needs when it is initialized.
 */
#ifndef HPNOTIFY_H
#define HPNOTIFY_H

#include <ntddk.h>
#include <wdf.h>

#include "async.h"
#include "log.h"
#include "memory.h"
#include "parameters.h"
#include "sync.h"
#include "veto.h"

#define HPN_SYNC_REGISTRATIONS 2

typedef struct _HPN_DRIVER {
    WDFDRIVER Framework;
    BOOLEAN PlugAndPlay;
    /* Plug and Play: devices so far, and whether one of them has the registrations. */
    volatile LONG Devices;
    volatile LONG HasRegistrar;
    WDFDEVICE Control;
    HPN_PARAMETERS Parameters;
    HPN_LOG Log;
    HPN_VETO Veto;
    HPN_BUFFER Buffer;
    HPN_SYNC Sync[HPN_SYNC_REGISTRATIONS];
    HPN_ASYNC ProcessorArrival;
    HPN_ASYNC MemoryArrival;
} HPN_DRIVER, *PHPN_DRIVER;

WDF_DECLARE_CONTEXT_TYPE_WITH_NAME(HPN_DRIVER, HpnDriverOf)

#endif
