/* SPDX-License-Identifier: MIT */
/* What the WDK's headers have and mingw-w64's lack. Included before everything else. */
#ifndef CROSS_SHIM_H
#define CROSS_SHIM_H

#define CROSS_ABSENT

#ifndef _Use_decl_annotations_
#define _Use_decl_annotations_
#endif
#define _Must_inspect_result_
#define _IRQL_requires_(Level)
#define _IRQL_requires_max_(Level)
#define _Outptr_
#define _Out_writes_bytes_(Count)
#define _Out_writes_(Count)
#define _In_reads_(Count)
#define _In_reads_bytes_(Count)
#define _In_z_
#define _In_opt_

#define ReadNoFence(Source) __atomic_load_n((Source), __ATOMIC_RELAXED)
#define ReadNoFence64(Source) __atomic_load_n((Source), __ATOMIC_RELAXED)
#define ReadAcquire(Source) __atomic_load_n((Source), __ATOMIC_ACQUIRE)

#endif
