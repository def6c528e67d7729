/* SPDX-License-Identifier: MIT */
/*
 * The Parameters key of the service: REG_DWORD values. One that is missing or out of range has its default. PlugAndPlay,
 * which the INF file sets, decides how the framework's driver object is created, so it is read without the framework.
 */
#include "parameters.h"

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnParametersRead)
#pragma alloc_text(PAGE, HpnParametersPlugAndPlay)
#endif

static
ULONG
HpnParameter(
    _In_ WDFKEY Key,
    _In_ PCUNICODE_STRING Name,
    _In_ ULONG Default,
    _In_ ULONG Minimum,
    _In_ ULONG Maximum
    )
{
    ULONG value;

    if (!NT_SUCCESS(WdfRegistryQueryULong(Key, Name, &value)) || value < Minimum || value > Maximum) {
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
    DECLARE_CONST_UNICODE_STRING(secondRegistration, L"SecondRegistration");
    DECLARE_CONST_UNICODE_STRING(debugPort, L"DebugPort");
    DECLARE_CONST_UNICODE_STRING(ringRecords, L"RingRecords");
    DECLARE_CONST_UNICODE_STRING(veto, L"Veto");
    WDFKEY key;

    PAGED_CODE();

    Parameters->AddExisting = 1;
    Parameters->IncludeExisting = 0;
    Parameters->SecondRegistration = 0;
    Parameters->DebugPort = HPN_DEFAULT_DEBUG_PORT;
    Parameters->RingRecords = HPN_DEFAULT_RING_RECORDS;
    Parameters->Veto = 0;

    /* Without the key, all values have their defaults. */
    if (!NT_SUCCESS(WdfDriverOpenParametersRegistryKey(Framework, KEY_READ, WDF_NO_OBJECT_ATTRIBUTES, &key))) {
        return;
    }

    Parameters->AddExisting = HpnParameter(key, &addExisting, Parameters->AddExisting, 0, 1);
    Parameters->IncludeExisting = HpnParameter(key, &includeExisting, Parameters->IncludeExisting, 0, 1);
    Parameters->SecondRegistration = HpnParameter(key, &secondRegistration, Parameters->SecondRegistration, 0, 1);
    Parameters->DebugPort = HpnParameter(key, &debugPort, Parameters->DebugPort, 0, 0xFFFF);
    Parameters->RingRecords = HpnParameter(key, &ringRecords, Parameters->RingRecords, 16, 65536);
    Parameters->Veto = HpnParameter(key, &veto, Parameters->Veto, 0, 65536);
    WdfRegistryClose(key);
}

static
NTSTATUS
HpnOpenKey(
    _In_opt_ HANDLE Parent,
    _In_ PUNICODE_STRING Name,
    _Out_ PHANDLE Key
    )
{
    OBJECT_ATTRIBUTES attributes;

    InitializeObjectAttributes(&attributes, Name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, Parent, NULL);
    return ZwOpenKey(Key, KEY_READ, &attributes);
}

_Use_decl_annotations_
BOOLEAN
HpnParametersPlugAndPlay(
    PUNICODE_STRING RegistryPath
    )
{
    DECLARE_CONST_UNICODE_STRING(parameters, L"Parameters");
    DECLARE_CONST_UNICODE_STRING(plugAndPlay, L"PlugAndPlay");
    union {
        KEY_VALUE_PARTIAL_INFORMATION Value;
        UCHAR Bytes[FIELD_OFFSET(KEY_VALUE_PARTIAL_INFORMATION, Data) + sizeof(ULONG)];
    } information;
    BOOLEAN answer = FALSE;
    HANDLE service;
    HANDLE key;
    ULONG length;
    ULONG value;

    PAGED_CODE();

    if (!NT_SUCCESS(HpnOpenKey(NULL, RegistryPath, &service))) {
        return FALSE;
    }

    if (NT_SUCCESS(HpnOpenKey(service, (PUNICODE_STRING)&parameters, &key))) {
        if (NT_SUCCESS(ZwQueryValueKey(
                key, (PUNICODE_STRING)&plugAndPlay, KeyValuePartialInformation, &information, sizeof(information),
                &length))) {
            RtlCopyMemory(
                &value, &information.Bytes[FIELD_OFFSET(KEY_VALUE_PARTIAL_INFORMATION, Data)], sizeof(value));
            answer = information.Value.Type == REG_DWORD && information.Value.DataLength == sizeof(value) && value == 1;
        }
        ZwClose(key);
    }

    ZwClose(service);
    return answer;
}
