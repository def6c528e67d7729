/* SPDX-License-Identifier: MIT */
/* Threads, handles and references: Wine's own, counted to detect what a driver does not release. */
#include "bound.h"

LONG ObjectThreads;
LONG ObjectHandles;
LONG ObjectReferences;

static
NTSTATUS
NTAPI
CreateSystemThread(
    PHANDLE ThreadHandle,
    ULONG DesiredAccess,
    POBJECT_ATTRIBUTES ObjectAttributes,
    HANDLE ProcessHandle,
    PCLIENT_ID ClientId,
    PKSTART_ROUTINE StartRoutine,
    PVOID StartContext
    )
{
    NTSTATUS status;

    __atomic_add_fetch(&ObjectThreads, 1, __ATOMIC_SEQ_CST);
    status = PsCreateSystemThread(
        ThreadHandle, DesiredAccess, ObjectAttributes, ProcessHandle, ClientId, StartRoutine, StartContext);
    if (NT_SUCCESS(status)) {
        __atomic_add_fetch(&ObjectHandles, 1, __ATOMIC_SEQ_CST);
    } else {
        __atomic_sub_fetch(&ObjectThreads, 1, __ATOMIC_SEQ_CST);
    }
    return status;
}

/* Found at run time: the core has a function of this name, too. */
static
NTSTATUS
NTAPI
OpenKey(
    PHANDLE KeyHandle,
    ACCESS_MASK DesiredAccess,
    POBJECT_ATTRIBUTES ObjectAttributes
    )
{
    NTSTATUS (NTAPI *open)(PHANDLE, ACCESS_MASK, POBJECT_ATTRIBUTES);
    NTSTATUS status;

    open = (NTSTATUS (NTAPI *)(PHANDLE, ACCESS_MASK, POBJECT_ATTRIBUTES))(ULONG_PTR)double_function(
        "ntoskrnl.exe", "ZwOpenKey");
    status = open(KeyHandle, DesiredAccess, ObjectAttributes);
    if (NT_SUCCESS(status)) {
        __atomic_add_fetch(&ObjectHandles, 1, __ATOMIC_SEQ_CST);
    }
    return status;
}

static
NTSTATUS
NTAPI
CloseHandle(
    HANDLE Handle
    )
{
    __atomic_sub_fetch(&ObjectHandles, 1, __ATOMIC_SEQ_CST);
    return ZwClose(Handle);
}

static
NTSTATUS
NTAPI
ReferenceObjectByHandle(
    HANDLE Handle,
    ACCESS_MASK DesiredAccess,
    POBJECT_TYPE ObjectType,
    KPROCESSOR_MODE AccessMode,
    PVOID *Object,
    POBJECT_HANDLE_INFORMATION HandleInformation
    )
{
    NTSTATUS status;

    status = ObReferenceObjectByHandle(Handle, DesiredAccess, ObjectType, AccessMode, Object, HandleInformation);
    if (NT_SUCCESS(status)) {
        __atomic_add_fetch(&ObjectReferences, 1, __ATOMIC_SEQ_CST);
    }
    return status;
}

static
LONG_PTR
FASTCALL
DereferenceObject(
    PVOID Object
    )
{
    __atomic_sub_fetch(&ObjectReferences, 1, __ATOMIC_SEQ_CST);
    return ObfDereferenceObject(Object);
}

static
NTSTATUS
NTAPI
TerminateSystemThread(
    NTSTATUS Status
    )
{
    __atomic_sub_fetch(&ObjectThreads, 1, __ATOMIC_SEQ_CST);
    return PsTerminateSystemThread(Status);
}

const BOUND_IMPORT ObjectImports[] = {
    BOUND_IMPORT_OF("ObReferenceObjectByHandle", ReferenceObjectByHandle),
    BOUND_IMPORT_OF("ObfDereferenceObject", DereferenceObject),
    BOUND_IMPORT_OF("ZwClose", CloseHandle),
    BOUND_IMPORT_OF("ZwOpenKey", OpenKey),
    BOUND_IMPORT_OF("PsCreateSystemThread", CreateSystemThread),
    BOUND_IMPORT_OF("PsTerminateSystemThread", TerminateSystemThread),
    { NULL, NULL }
};
