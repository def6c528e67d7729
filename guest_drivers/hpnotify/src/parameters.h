/* SPDX-License-Identifier: MIT */
/* The Parameters key of the service. */
#ifndef HPNOTIFY_PARAMETERS_H
#define HPNOTIFY_PARAMETERS_H

#include <ntddk.h>
#include <wdf.h>

#define HPN_DEFAULT_DEBUG_PORT 0x504
#define HPN_DEFAULT_RING_RECORDS 1024

typedef struct _HPN_PARAMETERS {
    ULONG AddExisting;
    ULONG IncludeExisting;
    ULONG SecondRegistration;
    ULONG DebugPort;
    ULONG RingRecords;
    ULONG Veto;
} HPN_PARAMETERS, *PHPN_PARAMETERS;

/* Whether the driver was installed as a Plug and Play driver; called before the framework is initialized. */
_IRQL_requires_(PASSIVE_LEVEL)
BOOLEAN
HpnParametersPlugAndPlay(
    _In_ PUNICODE_STRING RegistryPath
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnParametersRead(
    _In_ WDFDRIVER Framework,
    _Out_ PHPN_PARAMETERS Parameters
    );

#endif
