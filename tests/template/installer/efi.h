/* SPDX-License-Identifier: MIT */
/* The few declarations of the UEFI specification (2.10) that the installer uses; members it does not use are counted. */

#pragma once

#include "script.h"

#define EFIAPI __attribute__((ms_abi))
#define EFI_ERROR_BIT (1ULL << 63)
#define EFI_ABORTED (EFI_ERROR_BIT | 21)

typedef u64 status;
typedef void *handle;

typedef struct { u32 a; u16 b, c; u8 d[8]; } guid;

typedef struct { u16 scan_code, character; } input_key;

typedef struct text_input {
    void *reset;
    status (EFIAPI *read_key)(struct text_input *, input_key *);
} text_input;

typedef struct text_output {
    void *reset;
    status (EFIAPI *output)(struct text_output *, const u16 *);
} text_output;

typedef struct {
    u32 id;
    u8 removable, present, logical_partition, read_only, write_caching;
    u32 block_size, alignment;
    u64 last_block;
} block_media;

typedef struct block_io {
    u64 revision;
    block_media *media;
    void *reset;
    status (EFIAPI *read)(struct block_io *, u32 id, u64 block, u64 bytes, void *);
    status (EFIAPI *write)(struct block_io *, u32 id, u64 block, u64 bytes, const void *);
    status (EFIAPI *flush)(struct block_io *);
} block_io;

typedef struct {
    u32 revision;
    handle parent;
    void *system_table;
    handle device;
} loaded_image;

typedef struct {
    u8 header[24];
    void *before_allocate_pages[2];
    status (EFIAPI *allocate_pages)(u32 type, u32 memory, u64 pages, u64 *address);
    void *before_handle_protocol[13];
    status (EFIAPI *handle_protocol)(handle, const guid *, void **);
    void *before_stall[11];
    status (EFIAPI *stall)(u64 microseconds);
    status (EFIAPI *set_watchdog)(u64 seconds, u64 code, u64 size, const u16 *);
    void *before_locate_handles[6];
    status (EFIAPI *locate_handles)(u32 how, const guid *, void *key, u64 *count, handle **);
} boot_services;

typedef struct {
    u8 header[24];
    void *before_get_variable[6];
    status (EFIAPI *get_variable)(const u16 *name, const guid *, u32 *attributes, u64 *size, void *);
    void *next_variable;
    status (EFIAPI *set_variable)(const u16 *name, const guid *, u32 attributes, u64 size, const void *);
    void *monotonic_count;
    void (EFIAPI *reset)(u32 kind, status, u64 size, void *);
} runtime_services;

typedef struct {
    u8 header[24];
    void *vendor;
    u32 revision;
    handle input_handle;
    text_input *input;
    handle output_handle;
    text_output *output;
    handle error_handle;
    void *error;
    runtime_services *runtime;
    boot_services *boot;
} system_table;
