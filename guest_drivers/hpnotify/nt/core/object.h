/* SPDX-License-Identifier: MIT */
/* The framework's objects, for the files that make up the framework. */
#ifndef NT_OBJECT_H
#define NT_OBJECT_H

#include "layer.h"

#define MOST_MINORS 16

enum object_kind { OBJECT_DRIVER, OBJECT_DEVICE, OBJECT_QUEUE, OBJECT_REQUEST, OBJECT_MEMORY, OBJECT_KEY };

struct object {
    enum object_kind kind;
    struct object *parent;
    struct object *children;
    struct object *next;
    const WDF_OBJECT_CONTEXT_TYPE_INFO *type;
    PVOID context;
    PVOID payload;
    union {
        struct {
            PDRIVER_OBJECT object;
            WDF_DRIVER_CONFIG config;
            /* The control device, once it can be opened; the devices of a Plug and Play driver. */
            struct object *device;
            struct WDFDEVICE_INIT *nodes;
        } driver;
        struct {
            struct object *driver;
            struct object *queue;
            /* Empty: it has none. */
            WCHAR name[LAYER_NAME_CHARACTERS];
            WCHAR link[LAYER_NAME_CHARACTERS];
            BOOLEAN finished;
            /* NULL for a control device. */
            struct WDFDEVICE_INIT *node;
        } device;
        struct {
            WDF_IO_QUEUE_CONFIG config;
        } queue;
        struct {
            size_t input_bytes;
            size_t output_bytes;
            NTSTATUS status;
            ULONG_PTR information;
            BOOLEAN completed;
        } request;
        struct {
            WCHAR path[LAYER_NAME_CHARACTERS];
        } key;
    };
};

/* The definition of a device and, for one of a Plug and Play driver, its node in the device tree. */
struct WDFDEVICE_INIT {
    struct object *driver;
    /* Empty: it has none. */
    WCHAR name[LAYER_NAME_CHARACTERS];
    BOOLEAN plug_and_play;
    /* A device with hardware resources takes part in a rebalance as a whole. */
    BOOLEAN resources;
    /* DEVPKEY_Device_DHP_Rebalance_Policy is 1: it takes no part in a rebalance after a processor was added. */
    BOOLEAN opted_out;
    const char *hardware;
    struct WDFDEVICE_INIT *next;
    struct object *device;
    WDF_PNPPOWER_EVENT_CALLBACKS callbacks;
    EVT_WDFDEVICE_WDM_IRP_PREPROCESS *preprocess;
    UCHAR minors[MOST_MINORS];
    ULONG minor_count;
    /* The progress of the device: it is powered, its self-managed I/O was initialized. */
    BOOLEAN powered;
    BOOLEAN initialized;
};

struct object *object_create(
    enum object_kind kind, struct object *default_parent, const WDF_OBJECT_ATTRIBUTES *attributes,
    size_t payload_bytes);

/* Whether a structure was initialized for this version of the framework; one that was not is shown. */
BOOLEAN object_is_initialized(const char *type, ULONG bytes, size_t expected);

#endif
