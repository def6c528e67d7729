/* SPDX-License-Identifier: MIT */
/* The devices of a Plug and Play installation. */
#ifndef HPNOTIFY_DEVICE_H
#define HPNOTIFY_DEVICE_H

#include <ntddk.h>
#include <wdf.h>

EVT_WDF_DRIVER_DEVICE_ADD HpnEvtDriverDeviceAdd;

#endif
