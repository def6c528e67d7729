/* SPDX-License-Identifier: MIT */
/* Handles of the framework's objects. They are distinct types, so that the compiler tells them apart. */
#ifndef KMDF_WDF_HANDLES_H
#define KMDF_WDF_HANDLES_H

#include <ntddk.h>

typedef HANDLE WDFOBJECT;

#define WDF_HANDLE(Name) typedef struct Name##__ *Name;

WDF_HANDLE(WDFDRIVER)
WDF_HANDLE(WDFDEVICE)
WDF_HANDLE(WDFQUEUE)
WDF_HANDLE(WDFREQUEST)
WDF_HANDLE(WDFMEMORY)
WDF_HANDLE(WDFKEY)
WDF_HANDLE(WDFCMRESLIST)

typedef struct WDFDEVICE_INIT *PWDFDEVICE_INIT;

#define WDF_NO_OBJECT_ATTRIBUTES NULL
#define WDF_NO_EVENT_CALLBACK NULL

/* A function of any type. */
typedef VOID (*WDFFUNC)(VOID);

#endif
