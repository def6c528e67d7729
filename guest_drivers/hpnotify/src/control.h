/* SPDX-License-Identifier: MIT */
/* The control device. */
#ifndef HPNOTIFY_CONTROL_H
#define HPNOTIFY_CONTROL_H

#include "hpnotify.h"

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnControlCreate(
    _Inout_ PHPN_DRIVER Driver
    );

/* Needed by a Plug and Play driver only; the framework deletes the control device of any other. */
_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnControlDelete(
    _Inout_ PHPN_DRIVER Driver
    );

#endif
