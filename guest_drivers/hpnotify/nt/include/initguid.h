/* SPDX-License-Identifier: MIT */
/* After this header, DEFINE_GUID defines what it otherwise only declares. */
#ifndef NT_INITGUID_H
#define NT_INITGUID_H

#include <ntddk.h>

#undef DEFINE_GUID
#define DEFINE_GUID(Name, L, W1, W2, B1, B2, B3, B4, B5, B6, B7, B8) \
    const GUID DECLSPEC_SELECTANY Name = { L, W1, W2, { B1, B2, B3, B4, B5, B6, B7, B8 } }

#endif
