/* SPDX-License-Identifier: MIT */
/* The parts of hpnotify's interface that mingw-w64's ntddk.h lacks. */
#ifndef CROSS_NTDDK_H
#define CROSS_NTDDK_H

/*
 * wdm.h defines these two once more, after winnt.h's intrinsics, and clang then puts a definition into every object.
 * They get other names, which are not used.
 */
#include <intrin.h>
#define InterlockedBitTestAndSet CrossBitTestAndSet
#define InterlockedBitTestAndReset CrossBitTestAndReset
#include_next <ntddk.h>
#undef InterlockedBitTestAndSet
#undef InterlockedBitTestAndReset

#include <evntprov.h>

/* Without these definitions the headers silently lack the group-aware members. */
#if !defined(_AMD64_) || !defined(_WIN64) || _WIN32_WINNT < 0x0A00 || NTDDI_VERSION < 0x0A000000
#error "define _AMD64_, _WIN64, _WIN32_WINNT=0x0A00 and NTDDI_VERSION=0x0A000000"
#endif

#ifndef ReadNoFence
#define ReadNoFence(Source) __atomic_load_n((Source), __ATOMIC_RELAXED)
#endif
#ifndef ReadNoFence64
#define ReadNoFence64(Source) __atomic_load_n((Source), __ATOMIC_RELAXED)
#endif
#ifndef ReadAcquire
#define ReadAcquire(Source) __atomic_load_n((Source), __ATOMIC_ACQUIRE)
#endif

/* Declared with dllimport by mistake: `*PsThreadType` would follow one pointer too many. Nothing may use them. */
#pragma GCC poison PsThreadType PsProcessType ExEventObjectType ExSemaphoreObjectType IoFileObjectType SeTokenObjectType

#endif
