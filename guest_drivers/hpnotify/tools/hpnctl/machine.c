/* SPDX-License-Identifier: MIT */
/*
 * The machine as seen from inside, as one JSON object: processors by group, memory, the time, whether this Windows
 * accepts processors while it runs, the hypervisor's CPUID leaves, and the firmware's table of processors and memory
 * by node (SRAT), byte for byte.
 */
#include "hpnctl.h"

#include <cpuid.h>

#define HYPERVISOR_LEAF 0x40000000U
#define FEATURES_LEAF 0x40000003U
#define MOST_GROUPS 64
#define MOST_TABLE 32768

/* The provider 'ACPI', and the table's signature reversed, as GetSystemFirmwareTable requires. */
#define OF_ACPI 0x41435049U
#define SRAT 0x54415253U

/*
 * KUSER_SHARED_DATA, which every process can read at this address, and SharedDataFlags in it (DDI:
 * ntddk/ns-ntddk-kuser_shared_data.md has the fields, ntddk.h their places). Bit 5, DbgDynProcessorEnabled
 * (SHARED_GLOBAL_FLAGS_DYNAMIC_PROC_ENABLED_V), is set when Windows starts if it accepts processors while it runs.
 */
#define SHARED_DATA 0x7FFE0000ULL
#define SHARED_DATA_FLAGS 0x2F0

static struct text out;

static void
field(const char *name, ULONG64 value)
{
    add_text(&out, ",\"");
    add_text(&out, name);
    add_text(&out, "\":");
    add_decimal(&out, value);
}

static void
of_groups(void)
{
    WORD groups = GetMaximumProcessorGroupCount();

    add_text(&out, ",\"groups\":[");
    for (WORD group = 0; group < groups && group < MOST_GROUPS; group++) {
        add_text(&out, group == 0 ? "{\"active\":" : ",{\"active\":");
        add_decimal(&out, GetActiveProcessorCount(group));
        field("maximum", GetMaximumProcessorCount(group));
        add_text(&out, "}");
    }
    add_text(&out, "]");
}

/*
 * Any program may execute CPUID; the hypervisor controls the result (Hypervisor Top Level Functional Specification,
 * 2).
 */
static void
of_hypervisor(void)
{
    unsigned eax, ebx, ecx, edx;
    unsigned words[3] = { 0 };

    __cpuid(1, eax, ebx, ecx, edx);
    field("hypervisor", ecx >> 31);
    if (ecx >> 31) {
        __cpuid(HYPERVISOR_LEAF, eax, words[0], words[1], words[2]);
        field("leaves", eax);
        add_text(&out, ",\"signature\":\"");
        for (unsigned at = 0; at < sizeof(words); at++)
            add_hexadecimal(&out, ((const unsigned char *)words)[at], 2);
        add_text(&out, "\"");
        if (eax >= FEATURES_LEAF) {
            __cpuid(FEATURES_LEAF, eax, ebx, ecx, edx);
            field("privileges", ebx);
            field("features", edx);
        }
    }
}

static void
of_windows(void)
{
    FILETIME now;

    GetSystemTimeAsFileTime(&now);
    field("utc", (ULONG64)now.dwHighDateTime << 32 | now.dwLowDateTime);
    field("flags", *(const volatile ULONG *)(ULONG_PTR)(SHARED_DATA + SHARED_DATA_FLAGS));
}

/*
 * Values of the licence that decide what may be added while Windows runs, on a machine and in a virtual one. The function
 * is documented (W32: slpublic/nf-slpublic-slgetwindowsinformationdword.md); no page of Microsoft's has the names. The
 * kernel queries these values; they are null if the licence does not have them.
 */
typedef HRESULT WINAPI get_licence_value(PCWSTR name, DWORD *value);

static void
of_licence(void)
{
    static const WCHAR *const names[] = {
        L"Kernel-DynamicPartitioningSupported", L"Kernel-VirtualDynamicPartitioningSupported",
        L"Kernel-PhysicalMemoryAddAllowed", L"Kernel-VmPhysicalMemoryAddAllowed",
    };
    HMODULE library = LoadLibraryExW(L"slc.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    get_licence_value *get = NULL;

    if (library != NULL)
        get = (get_licence_value *)(ULONG_PTR)GetProcAddress(library, "SLGetWindowsInformationDWORD");
    add_text(&out, ",\"licence\":{");
    for (unsigned at = 0; at < sizeof(names) / sizeof(names[0]); at++) {
        DWORD value = 0;

        add_text(&out, at == 0 ? "\"" : ",\"");
        add_wide(&out, names[at]);
        add_text(&out, "\":");
        if (get != NULL && SUCCEEDED(get(names[at], &value)))
            add_decimal(&out, value);
        else
            add_text(&out, "null");
    }
    add_text(&out, "}");
}

static void
of_firmware(void)
{
    static unsigned char table[MOST_TABLE];
    UINT bytes = GetSystemFirmwareTable(OF_ACPI, SRAT, table, sizeof(table));

    add_text(&out, ",\"srat\":\"");
    for (UINT at = 0; bytes <= sizeof(table) && at < bytes; at++) {
        add_hexadecimal(&out, table[at], 2);
        if (out.length > sizeof(out.bytes) / 2)
            put(&out);
    }
    add_text(&out, "\"");
}

int
machine(void)
{
    MEMORYSTATUSEX status = { .dwLength = sizeof(status) };

    if (!GlobalMemoryStatusEx(&status))
        return complain(REFUSED, "cannot tell how much memory there is", "", GetLastError());
    add_text(&out, "{\"processors\":");
    add_decimal(&out, GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
    field("maximum", GetMaximumProcessorCount(ALL_PROCESSOR_GROUPS));
    field("memory", status.ullTotalPhys);
    of_windows();
    of_licence();
    of_groups();
    of_hypervisor();
    of_firmware();
    add_text(&out, "}\n");
    put(&out);
    return DONE;
}
