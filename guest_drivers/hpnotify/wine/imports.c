/* SPDX-License-Identifier: MIT */
/* Binds the imports of a driver to the double or to the core, in its image in memory. The file is not changed. */
#include "bound.h"

static
PVOID
Redirected(
    _In_ PCSTR Name
    )
{
    static const BOUND_IMPORT *const lists[] = { DpcImports, ObjectImports };
    const BOUND_IMPORT *import;
    ULONG list;

    for (list = 0; list < RTL_NUMBER_OF(lists); list += 1) {
        for (import = lists[list]; import->Name != NULL; import += 1) {
            if (strcmp(import->Name, Name) == 0) {
                return import->Address;
            }
        }
    }
    return adapter_redirect(Name);
}

/* Walks the import table of the image in memory. Its layout: "PE Format" (W32: Debug/pe-format.md). */
VOID
ImportsRedirect(
    _In_ PUCHAR Image
    )
{
    ULONG header = *(ULONG *)(Image + 0x3C);
    ULONG imports = *(ULONG *)(Image + header + 24 + 112 + 8);
    ULONG *library;
    ULONG64 *names;
    PVOID *addresses;
    PVOID own;

    for (library = (ULONG *)(Image + imports); library[3] != 0; library += 5) {
        names = (ULONG64 *)(Image + library[0]);
        addresses = (PVOID *)(Image + library[4]);
        for (; *names != 0; names += 1, addresses += 1) {
            PCSTR name = (PCSTR)(Image + *names + 2);

            own = Redirected(name);
            if (own == NULL && double_function((PCSTR)(Image + library[3]), name) == NULL) {
                double_trouble("neither Wine nor the double has %s", name);
            }
            if (own != NULL && double_writable(addresses, sizeof(*addresses), 1)) {
                *addresses = own;
                double_writable(addresses, sizeof(*addresses), 0);
            }
        }
    }
}
