/* SPDX-License-Identifier: MIT */
/* The internal interfaces of the double's parts that include the driver's own headers. */
#ifndef BOUND_H
#define BOUND_H

#include <ntddk.h>
#include <wdf.h>

#include "double.h"

#define BOUND_NAME_CHARACTERS 64

typedef struct _BOUND_NAME {
    UNICODE_STRING String;
    WCHAR Buffer[BOUND_NAME_CHARACTERS];
} BOUND_NAME;

/* One driver that is bound. Globals come first: the driver passes their address to every call. */
typedef struct _BOUND {
    WDF_DRIVER_GLOBALS Globals;
    PDRIVER_OBJECT Driver;
    PVOID Core;
    PVOID Framework;
    /* The control device, and its names. */
    PDEVICE_OBJECT Control;
    BOUND_NAME DeviceName;
    BOUND_NAME LinkName;
} BOUND;

/* bound.c */

BOUND *
BoundOf(
    _In_ PWDF_DRIVER_GLOBALS Globals
    );

/* NULL if that driver is not bound. For NULL: a place for another driver, or NULL if there is none left. */
BOUND *
BoundDriver(
    _In_opt_ PDRIVER_OBJECT Driver
    );

/* table.c: the framework's functions by their numbers. */

WDFFUNC *
TableFill(
    VOID
    );

/* device.c: the devices of a Plug and Play driver. */

DRIVER_ADD_DEVICE DeviceAdd;
DRIVER_DISPATCH DevicePower;
DRIVER_DISPATCH DevicePlugAndPlay;

/* The functions of the framework that are about such a device. */

NTSTATUS
DeviceQueryProperty(
    PWDF_DRIVER_GLOBALS Globals,
    PWDFDEVICE_INIT DeviceInit,
    DEVICE_REGISTRY_PROPERTY DeviceProperty,
    ULONG BufferLength,
    PVOID PropertyBuffer,
    PULONG ResultLength
    );

NTSTATUS
DeviceDispatchPreprocessed(
    PWDF_DRIVER_GLOBALS Globals,
    WDFDEVICE Device,
    PIRP Irp
    );

/* control.c: the control device of a bound driver. */

VOID
ControlBegin(
    _Inout_ BOUND *Bound
    );

VOID
ControlEnd(
    _Inout_ BOUND *Bound
    );

/* Completes a request with a status. */
NTSTATUS
ControlComplete(
    _Inout_ PIRP Irp,
    _In_ NTSTATUS Status,
    _In_ ULONG_PTR Information
    );

DRIVER_DISPATCH ControlAccept;

/* imports.c */

/* A function that takes the place of an import of that name. Lists end with a NULL. */
typedef struct _BOUND_IMPORT {
    PCSTR Name;
    PVOID Address;
} BOUND_IMPORT;

#define BOUND_IMPORT_OF(Name, Function) { Name, (PVOID)(ULONG_PTR)Function }

/* dpc.c and objects.c */
extern const BOUND_IMPORT DpcImports[];
extern const BOUND_IMPORT ObjectImports[];

/* The number of these objects that a driver has not released. */
extern LONG DpcQueued;
extern LONG ObjectThreads;
extern LONG ObjectHandles;
extern LONG ObjectReferences;

/* Binds the imports of an image in memory to the double or the core, if they have the function. */
VOID
ImportsRedirect(
    _In_ PUCHAR Image
    );

#endif
