/* SPDX-License-Identifier: MIT */
/* The Parameters key of the service: REG_DWORD values, each with a default. */
#include "hpnotify.h"

static
ULONG
HpnParameter(
    _In_ WDFKEY Key,
    _In_ PCUNICODE_STRING Name,
    _In_ ULONG Default,
    _In_ ULONG Maximum
    )
{
    ULONG value;

    if (!NT_SUCCESS(WdfRegistryQueryULong(Key, Name, &value)) || value > Maximum) {
        return Default;
    }

    return value;
}

_Use_decl_annotations_
VOID
HpnParametersRead(
    WDFDRIVER Framework,
    PHPN_PARAMETERS Parameters
    )
{
    DECLARE_CONST_UNICODE_STRING(addExisting, L"AddExisting");
    DECLARE_CONST_UNICODE_STRING(includeExisting, L"IncludeExisting");
    DECLARE_CONST_UNICODE_STRING(debugPort, L"DebugPort");
    WDFKEY key;

    Parameters->AddExisting = 1;
    Parameters->IncludeExisting = 0;
    Parameters->DebugPort = HPN_DEFAULT_DEBUG_PORT;

    /* No key means that nobody wants anything but the defaults. */
    if (!NT_SUCCESS(WdfDriverOpenParametersRegistryKey(Framework, KEY_READ, WDF_NO_OBJECT_ATTRIBUTES, &key))) {
        return;
    }

    Parameters->AddExisting = HpnParameter(key, &addExisting, Parameters->AddExisting, 1);
    Parameters->IncludeExisting = HpnParameter(key, &includeExisting, Parameters->IncludeExisting, 1);
    Parameters->DebugPort = HpnParameter(key, &debugPort, Parameters->DebugPort, 0xFFFF);
    WdfRegistryClose(key);
}
