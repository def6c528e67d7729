/* SPDX-License-Identifier: MIT */
/* The driver's service: its control device and its registrations. */
#ifndef HPNOTIFY_REGISTRATIONS_H
#define HPNOTIFY_REGISTRATIONS_H

#include "hpnotify.h"

/* If this fails, the caller calls HpnRegistrationsEnd. */
_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnRegistrationsBegin(
    _Inout_ PHPN_DRIVER Driver
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnRegistrationsEnd(
    _Inout_ PHPN_DRIVER Driver
    );

#endif
