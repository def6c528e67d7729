/* SPDX-License-Identifier: MIT */
/*
 * The driver's service: the control device and all registrations. DriverEntry begins it and EvtDriverUnload ends it, or,
 * installed as a Plug and Play driver, a device does (device.c).
 */
#include "control.h"
#include "registrations.h"

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnRegistrationsBegin)
#pragma alloc_text(PAGE, HpnRegistrationsEnd)
#endif

_Use_decl_annotations_
NTSTATUS
HpnRegistrationsBegin(
    PHPN_DRIVER Driver
    )
{
    NTSTATUS status;
    ULONG syncFlags;
    ULONG asyncFlags;

    PAGED_CODE();

    status = HpnControlCreate(Driver);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    HpnBufferGrow(&Driver->Buffer, HpnPhysicalMemory());

    syncFlags = Driver->Parameters.AddExisting ? KE_PROCESSOR_CHANGE_ADD_EXISTING : 0;
    asyncFlags = Driver->Parameters.IncludeExisting ? PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES : 0;

    status = HpnSyncRegister(&Driver->Sync[0], syncFlags);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    if (Driver->Parameters.SecondRegistration) {
        status = HpnSyncRegister(&Driver->Sync[1], syncFlags);
        if (!NT_SUCCESS(status)) {
            return status;
        }
    }

    status = HpnAsyncRegister(&Driver->ProcessorArrival, asyncFlags);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    status = HpnAsyncRegister(&Driver->MemoryArrival, asyncFlags);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    /* Requests may arrive only now: everything that they use exists. */
    WdfControlFinishInitializing(Driver->Control);
    return STATUS_SUCCESS;
}

/*
 * Undoes the completed steps of HpnRegistrationsBegin, in reverse order. The Plug and Play registrations are normally gone by
 * the time the driver is unloaded (IOCTL_HPNOTIFY_DETACH, or its devices were removed), because they hold a reference
 * on the driver object. The framework deletes the control device of a non-PnP driver itself after EvtDriverUnload.
 */
_Use_decl_annotations_
VOID
HpnRegistrationsEnd(
    PHPN_DRIVER Driver
    )
{
    PAGED_CODE();

    HpnAsyncUnregister(&Driver->MemoryArrival);
    HpnAsyncUnregister(&Driver->ProcessorArrival);
    HpnSyncDeregister(&Driver->Sync[1]);
    HpnSyncDeregister(&Driver->Sync[0]);
}
