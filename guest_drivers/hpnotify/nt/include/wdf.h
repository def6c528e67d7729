/* SPDX-License-Identifier: MIT */
/* The framework's functions where there is no Windows (see ntddk.h): nt/core defines them. wine/ adds to the declaration. */
#ifndef NT_WDF_H
#define NT_WDF_H

#include <wdf_handles.h>

#ifndef WDF_FUNCTION
#define WDF_FUNCTION(Result, Name, Parameters, Names) Result Name(WDF_REMOVE_PARENTHESES Parameters);
#endif

#include <wdf_core.h>

#endif
