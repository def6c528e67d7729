/* SPDX-License-Identifier: MIT */
/*
 * The part of the Windows driver interface that hpnotify uses, declared by this project so that the driver's source
 * can be executed where there is no Windows: in the twin's kernel and in a host process. Names, types and values are
 * those that the documentation gives (DDI: wdm.h, ntddk.h); nothing executed with this header says anything about
 * Windows.
 */
#ifndef NT_NTDDK_H
#define NT_NTDDK_H

/* Annotations mean something to the WDK's analysis only. */
#define _In_
#define _In_z_
#define _In_opt_
#define _In_reads_(Count)
#define _In_reads_opt_(Count)
#define _In_reads_bytes_(Count)
#define _Out_
#define _Out_opt_
#define _Out_writes_(Count)
#define _Out_writes_bytes_(Count)
#define _Out_writes_bytes_opt_(Count)
#define _Outptr_
#define _Inout_
#define _Inout_opt_
#define _Must_inspect_result_ __attribute__((warn_unused_result))
#define _Use_decl_annotations_
#define _IRQL_requires_(Level)
#define _IRQL_requires_max_(Level)
#define _Requires_lock_held_(Lock)
#define _Guarded_by_(Lock)

#define NTAPI
#define FORCEINLINE static inline __attribute__((unused))
#define DECLSPEC_SELECTANY __attribute__((weak))
#define UNREFERENCED_PARAMETER(Parameter) ((void)(Parameter))

/*
 * Here all code is resident; the check reports a pageable function that runs where a page fault cannot be handled. The
 * compilers do not know #pragma alloc_text, so ALLOC_PRAGMA is not defined.
 */
#define PAGED_CODE() NtPagedCode(__func__)

#define NT_ASSERT(Expression) ((void)(Expression))

#ifndef NULL
#define NULL ((void *)0)
#endif

#define TRUE 1
#define FALSE 0

typedef void VOID;
typedef void *PVOID;
typedef char CHAR;
typedef char *PSTR;
typedef const char *PCSTR;
typedef char *PCHAR;
typedef unsigned char UCHAR;
typedef unsigned char *PUCHAR;
typedef unsigned char BOOLEAN;
typedef unsigned short USHORT;
typedef unsigned short WCHAR;
typedef WCHAR *PWSTR;
typedef const WCHAR *PCWSTR;
typedef int LONG;
typedef unsigned int ULONG;
typedef ULONG *PULONG;
typedef long long LONG64;
typedef long long LONGLONG;
typedef unsigned long long ULONG64;
typedef unsigned long long ULONGLONG;
typedef ULONG64 *PULONG64;
typedef __UINTPTR_TYPE__ ULONG_PTR;
typedef __SIZE_TYPE__ SIZE_T;
typedef __SIZE_TYPE__ size_t;
typedef void *HANDLE;
typedef HANDLE *PHANDLE;

_Static_assert(sizeof(L""[0]) == sizeof(WCHAR), "compile with -fshort-wchar");

#define FIELD_OFFSET(Type, Field) ((LONG)__builtin_offsetof(Type, Field))
#define RTL_NUMBER_OF(Array) (sizeof(Array) / sizeof((Array)[0]))
#define CONTAINING_RECORD(Address, Type, Field) ((Type *)((char *)(Address) - __builtin_offsetof(Type, Field)))

typedef union _LARGE_INTEGER {
    struct {
        ULONG LowPart;
        LONG HighPart;
    };
    LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER, PHYSICAL_ADDRESS;

typedef struct _GUID {
    ULONG Data1;
    USHORT Data2;
    USHORT Data3;
    UCHAR Data4[8];
} GUID;

typedef const GUID *LPCGUID;

#define IsEqualGUID(Left, Right) (__builtin_memcmp((Left), (Right), sizeof(GUID)) == 0)

#define DEFINE_GUID(Name, L, W1, W2, B1, B2, B3, B4, B5, B6, B7, B8) extern const GUID Name

/* Status codes. */

typedef LONG NTSTATUS;
typedef NTSTATUS *PNTSTATUS;

#define NT_SUCCESS(Status) ((NTSTATUS)(Status) >= 0)
#define STATUS_SUCCESS ((NTSTATUS)0x00000000)
#define STATUS_TIMEOUT ((NTSTATUS)0x00000102)
#define STATUS_PENDING ((NTSTATUS)0x00000103)
#define STATUS_BUFFER_OVERFLOW ((NTSTATUS)0x80000005)
#define STATUS_UNSUCCESSFUL ((NTSTATUS)0xC0000001)
#define STATUS_INVALID_HANDLE ((NTSTATUS)0xC0000008)
#define STATUS_INVALID_PARAMETER ((NTSTATUS)0xC000000D)
#define STATUS_INVALID_DEVICE_REQUEST ((NTSTATUS)0xC0000010)
#define STATUS_BUFFER_TOO_SMALL ((NTSTATUS)0xC0000023)
#define STATUS_OBJECT_NAME_NOT_FOUND ((NTSTATUS)0xC0000034)
#define STATUS_OBJECT_NAME_COLLISION ((NTSTATUS)0xC0000035)
#define STATUS_INSUFFICIENT_RESOURCES ((NTSTATUS)0xC000009A)
#define STATUS_DEVICE_NOT_READY ((NTSTATUS)0xC00000A3)
#define STATUS_INVALID_DEVICE_STATE ((NTSTATUS)0xC0000184)
#define STATUS_INVALID_BUFFER_SIZE ((NTSTATUS)0xC0000206)

/* Strings and memory. */

typedef struct _UNICODE_STRING {
    USHORT Length;
    USHORT MaximumLength;
    PWSTR Buffer;
} UNICODE_STRING, *PUNICODE_STRING;

typedef const UNICODE_STRING *PCUNICODE_STRING;

#define RTL_CONSTANT_STRING(Text) { sizeof(Text) - sizeof((Text)[0]), sizeof(Text), (PWSTR)(Text) }
#define DECLARE_CONST_UNICODE_STRING(Variable, Text) \
    static const WCHAR Variable##_buffer[] = Text; \
    const UNICODE_STRING Variable = { sizeof(Text) - sizeof(WCHAR), sizeof(Text), (PWSTR)Variable##_buffer }

VOID
RtlInitUnicodeString(
    _Out_ PUNICODE_STRING Destination,
    _In_opt_ PCWSTR Source
    );

#define RtlZeroMemory(Destination, Length) __builtin_memset((Destination), 0, (Length))
#define RtlCopyMemory(Destination, Source, Length) __builtin_memcpy((Destination), (Source), (Length))

typedef enum _POOL_TYPE {
    NonPagedPool = 0,
    PagedPool = 1,
    NonPagedPoolNx = 512
} POOL_TYPE;

VOID
ExFreePool(
    _In_ PVOID Memory
    );

typedef struct _PHYSICAL_MEMORY_RANGE {
    PHYSICAL_ADDRESS BaseAddress;
    LARGE_INTEGER NumberOfBytes;
} PHYSICAL_MEMORY_RANGE, *PPHYSICAL_MEMORY_RANGE;

PVOID
MmGetSystemRoutineAddress(
    _In_ PUNICODE_STRING Name
    );

/* Interlocked operations. */

#define ReadNoFence(Source) __atomic_load_n((Source), __ATOMIC_RELAXED)
#define ReadNoFence64(Source) __atomic_load_n((Source), __ATOMIC_RELAXED)
#define ReadAcquire(Source) __atomic_load_n((Source), __ATOMIC_ACQUIRE)
#define InterlockedIncrement(Target) __atomic_add_fetch((Target), 1, __ATOMIC_SEQ_CST)
#define InterlockedDecrement(Target) __atomic_sub_fetch((Target), 1, __ATOMIC_SEQ_CST)
#define InterlockedExchange(Target, Value) __atomic_exchange_n((Target), (Value), __ATOMIC_SEQ_CST)
#define InterlockedExchangeAdd(Target, Value) __atomic_fetch_add((Target), (Value), __ATOMIC_SEQ_CST)
#define InterlockedAdd64(Target, Value) __atomic_add_fetch((Target), (Value), __ATOMIC_SEQ_CST)
#define InterlockedIncrement64(Target) __atomic_add_fetch((Target), 1, __ATOMIC_SEQ_CST)
#define InterlockedExchangePointer(Target, Value) __atomic_exchange_n((Target), (Value), __ATOMIC_SEQ_CST)

/* IRQL, locks, time, threads. */

typedef UCHAR KIRQL;
typedef KIRQL *PKIRQL;

#define PASSIVE_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2

typedef ULONG_PTR KSPIN_LOCK;
typedef KSPIN_LOCK *PKSPIN_LOCK;

VOID
NtPagedCode(
    _In_z_ PCSTR Function
    );

KIRQL
KeGetCurrentIrql(
    VOID
    );

VOID
KeInitializeSpinLock(
    _Out_ PKSPIN_LOCK SpinLock
    );

VOID
KeAcquireSpinLock(
    _Inout_ PKSPIN_LOCK SpinLock,
    _Out_ PKIRQL OldIrql
    );

VOID
KeReleaseSpinLock(
    _Inout_ PKSPIN_LOCK SpinLock,
    _In_ KIRQL NewIrql
    );

LARGE_INTEGER
KeQueryPerformanceCounter(
    _Out_opt_ PLARGE_INTEGER PerformanceFrequency
    );

VOID
KeQuerySystemTime(
    _Out_ PLARGE_INTEGER CurrentTime
    );

HANDLE
PsGetCurrentThreadId(
    VOID
    );

/* Events, threads, waiting. */

typedef struct _KEVENT {
    ULONG_PTR Opaque[10];
} KEVENT, *PKEVENT;

typedef enum _EVENT_TYPE {
    NotificationEvent = 0,
    SynchronizationEvent
} EVENT_TYPE;

typedef LONG KPRIORITY;
typedef CHAR KPROCESSOR_MODE;

#define IO_NO_INCREMENT 0
#define KernelMode 0

typedef enum _KWAIT_REASON {
    Executive = 0
} KWAIT_REASON;

VOID
KeInitializeEvent(
    _Out_ PKEVENT Event,
    _In_ EVENT_TYPE Type,
    _In_ BOOLEAN State
    );

LONG
KeSetEvent(
    _Inout_ PKEVENT Event,
    _In_ KPRIORITY Increment,
    _In_ BOOLEAN Wait
    );

NTSTATUS
KeWaitForSingleObject(
    _In_ PVOID Object,
    _In_ KWAIT_REASON WaitReason,
    _In_ KPROCESSOR_MODE WaitMode,
    _In_ BOOLEAN Alertable,
    _In_opt_ PLARGE_INTEGER Timeout
    );

NTSTATUS
KeDelayExecutionThread(
    _In_ KPROCESSOR_MODE WaitMode,
    _In_ BOOLEAN Alertable,
    _In_ PLARGE_INTEGER Interval
    );

typedef
VOID
KSTART_ROUTINE(
    _In_ PVOID StartContext
    );

typedef KSTART_ROUTINE *PKSTART_ROUTINE;

#define THREAD_ALL_ACCESS 0x1FFFFF

_Must_inspect_result_
NTSTATUS
PsCreateSystemThread(
    _Out_ HANDLE *ThreadHandle,
    _In_ ULONG DesiredAccess,
    _In_opt_ PVOID ObjectAttributes,
    _In_opt_ HANDLE ProcessHandle,
    _Out_opt_ PVOID ClientId,
    _In_ PKSTART_ROUTINE StartRoutine,
    _In_opt_ PVOID StartContext
    );

NTSTATUS
PsTerminateSystemThread(
    _In_ NTSTATUS ExitStatus
    );

NTSTATUS
ObReferenceObjectByHandle(
    _In_ HANDLE Handle,
    _In_ ULONG DesiredAccess,
    _In_opt_ PVOID ObjectType,
    _In_ KPROCESSOR_MODE AccessMode,
    _Out_ PVOID *Object,
    _Out_opt_ PVOID HandleInformation
    );

VOID
ObDereferenceObject(
    _In_ PVOID Object
    );

NTSTATUS
ZwClose(
    _In_ HANDLE Handle
    );

/* Processors. */

typedef ULONG_PTR KAFFINITY;
typedef KAFFINITY *PKAFFINITY;

typedef struct _PROCESSOR_NUMBER {
    USHORT Group;
    UCHAR Number;
    UCHAR Reserved;
} PROCESSOR_NUMBER, *PPROCESSOR_NUMBER;

#define ALL_PROCESSOR_GROUPS 0xFFFF
#define INVALID_PROCESSOR_INDEX 0xFFFFFFFF

ULONG
KeGetCurrentProcessorNumberEx(
    _Out_opt_ PPROCESSOR_NUMBER ProcNumber
    );

ULONG
KeQueryActiveProcessorCount(
    _Out_opt_ PKAFFINITY ActiveProcessors
    );

ULONG
KeQueryActiveProcessorCountEx(
    _In_ USHORT GroupNumber
    );

ULONG
KeQueryMaximumProcessorCountEx(
    _In_ USHORT GroupNumber
    );

USHORT
KeQueryActiveGroupCount(
    VOID
    );

KAFFINITY
KeQueryGroupAffinity(
    _In_ USHORT GroupNumber
    );

NTSTATUS
KeGetProcessorNumberFromIndex(
    _In_ ULONG ProcIndex,
    _Out_ PPROCESSOR_NUMBER ProcNumber
    );

ULONG
KeGetProcessorIndexFromNumber(
    _In_ PPROCESSOR_NUMBER ProcNumber
    );

typedef struct _GROUP_AFFINITY {
    KAFFINITY Mask;
    USHORT Group;
    USHORT Reserved[3];
} GROUP_AFFINITY, *PGROUP_AFFINITY;

VOID
KeSetSystemGroupAffinityThread(
    _In_ PGROUP_AFFINITY Affinity,
    _Out_opt_ PGROUP_AFFINITY PreviousAffinity
    );

/* Run-down protection. */

typedef struct _EX_RUNDOWN_REF {
    volatile LONG64 Count;
} EX_RUNDOWN_REF, *PEX_RUNDOWN_REF;

VOID
ExInitializeRundownProtection(
    _Out_ PEX_RUNDOWN_REF RunRef
    );

BOOLEAN
ExAcquireRundownProtection(
    _Inout_ PEX_RUNDOWN_REF RunRef
    );

VOID
ExReleaseRundownProtection(
    _Inout_ PEX_RUNDOWN_REF RunRef
    );

VOID
ExWaitForRundownProtectionRelease(
    _Inout_ PEX_RUNDOWN_REF RunRef
    );

/* Deferred procedure calls. */

typedef struct _KDPC {
    ULONG_PTR Opaque[16];
} KDPC, *PKDPC;

typedef
VOID
KDEFERRED_ROUTINE(
    _In_ PKDPC Dpc,
    _In_opt_ PVOID DeferredContext,
    _In_opt_ PVOID SystemArgument1,
    _In_opt_ PVOID SystemArgument2
    );

typedef KDEFERRED_ROUTINE *PKDEFERRED_ROUTINE;

VOID
KeInitializeDpc(
    _Out_ PKDPC Dpc,
    _In_ PKDEFERRED_ROUTINE DeferredRoutine,
    _In_opt_ PVOID DeferredContext
    );

NTSTATUS
KeSetTargetProcessorDpcEx(
    _Inout_ PKDPC Dpc,
    _In_ PPROCESSOR_NUMBER ProcNumber
    );

BOOLEAN
KeInsertQueueDpc(
    _Inout_ PKDPC Dpc,
    _In_opt_ PVOID SystemArgument1,
    _In_opt_ PVOID SystemArgument2
    );

VOID
KeFlushQueuedDpcs(
    VOID
    );

typedef enum _KE_PROCESSOR_CHANGE_NOTIFY_STATE {
    KeProcessorAddStartNotify = 0,
    KeProcessorAddCompleteNotify,
    KeProcessorAddFailureNotify
} KE_PROCESSOR_CHANGE_NOTIFY_STATE;

typedef struct _KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT {
    KE_PROCESSOR_CHANGE_NOTIFY_STATE State;
    ULONG NtNumber;
    NTSTATUS Status;
    PROCESSOR_NUMBER ProcNumber;
} KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, *PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT;

typedef
VOID
PROCESSOR_CALLBACK_FUNCTION(
    _In_ PVOID CallbackContext,
    _In_ PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT ChangeContext,
    _Inout_ PNTSTATUS OperationStatus
    );

typedef PROCESSOR_CALLBACK_FUNCTION *PPROCESSOR_CALLBACK_FUNCTION;

#define KE_PROCESSOR_CHANGE_ADD_EXISTING 1

PVOID
KeRegisterProcessorChangeCallback(
    _In_ PPROCESSOR_CALLBACK_FUNCTION CallbackFunction,
    _In_opt_ PVOID CallbackContext,
    _In_ ULONG Flags
    );

VOID
KeDeregisterProcessorChangeCallback(
    _In_ PVOID CallbackHandle
    );

/* Drivers and Plug and Play notification. */

typedef struct _DRIVER_OBJECT DRIVER_OBJECT, *PDRIVER_OBJECT;

typedef
NTSTATUS
DRIVER_INITIALIZE(
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PUNICODE_STRING RegistryPath
    );

typedef enum _IO_NOTIFICATION_EVENT_CATEGORY {
    EventCategoryReserved = 0,
    EventCategoryHardwareProfileChange,
    EventCategoryDeviceInterfaceChange,
    EventCategoryTargetDeviceChange
} IO_NOTIFICATION_EVENT_CATEGORY;

#define PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES 1

typedef struct _DEVICE_INTERFACE_CHANGE_NOTIFICATION {
    USHORT Version;
    USHORT Size;
    GUID Event;
    GUID InterfaceClassGuid;
    PUNICODE_STRING SymbolicLinkName;
} DEVICE_INTERFACE_CHANGE_NOTIFICATION, *PDEVICE_INTERFACE_CHANGE_NOTIFICATION;

typedef
NTSTATUS
DRIVER_NOTIFICATION_CALLBACK_ROUTINE(
    _In_ PVOID NotificationStructure,
    _Inout_opt_ PVOID Context
    );

typedef DRIVER_NOTIFICATION_CALLBACK_ROUTINE *PDRIVER_NOTIFICATION_CALLBACK_ROUTINE;

_Must_inspect_result_
NTSTATUS
IoRegisterPlugPlayNotification(
    _In_ IO_NOTIFICATION_EVENT_CATEGORY EventCategory,
    _In_ ULONG EventCategoryFlags,
    _In_opt_ PVOID EventCategoryData,
    _In_ PDRIVER_OBJECT DriverObject,
    _In_ PDRIVER_NOTIFICATION_CALLBACK_ROUTINE CallbackRoutine,
    _Inout_opt_ PVOID Context,
    _Outptr_ PVOID *NotificationEntry
    );

NTSTATUS
IoUnregisterPlugPlayNotificationEx(
    _In_ PVOID NotificationEntry
    );

/* Ports and debug output. */

UCHAR
READ_PORT_UCHAR(
    _In_ PUCHAR Port
    );

VOID
WRITE_PORT_BUFFER_UCHAR(
    _In_ PUCHAR Port,
    _In_reads_(Count) PUCHAR Buffer,
    _In_ ULONG Count
    );

#define DPFLTR_IHVDRIVER_ID 77
#define DPFLTR_ERROR_LEVEL 0
#define DPFLTR_INFO_LEVEL 3

__attribute__((format(printf, 3, 4)))
ULONG
DbgPrintEx(
    _In_ ULONG ComponentId,
    _In_ ULONG Level,
    _In_ PCSTR Format,
    ...
    );

/* Event tracing. */

typedef ULONGLONG REGHANDLE;
typedef REGHANDLE *PREGHANDLE;

typedef struct _EVENT_DESCRIPTOR {
    USHORT Id;
    UCHAR Version;
    UCHAR Channel;
    UCHAR Level;
    UCHAR Opcode;
    USHORT Task;
    ULONGLONG Keyword;
} EVENT_DESCRIPTOR, *PEVENT_DESCRIPTOR;

typedef const EVENT_DESCRIPTOR *PCEVENT_DESCRIPTOR;

typedef struct _EVENT_DATA_DESCRIPTOR {
    ULONGLONG Ptr;
    ULONG Size;
    ULONG Reserved;
} EVENT_DATA_DESCRIPTOR, *PEVENT_DATA_DESCRIPTOR;

FORCEINLINE
VOID
EventDataDescCreate(
    _Out_ PEVENT_DATA_DESCRIPTOR EventDataDescriptor,
    _In_ const VOID *DataPtr,
    _In_ ULONG DataSize
    )
{
    EventDataDescriptor->Ptr = (ULONG_PTR)DataPtr;
    EventDataDescriptor->Size = DataSize;
    EventDataDescriptor->Reserved = 0;
}

NTSTATUS
EtwRegister(
    _In_ LPCGUID ProviderId,
    _In_opt_ PVOID EnableCallback,
    _In_opt_ PVOID CallbackContext,
    _Out_ PREGHANDLE RegHandle
    );

NTSTATUS
EtwWrite(
    _In_ REGHANDLE RegHandle,
    _In_ PCEVENT_DESCRIPTOR EventDescriptor,
    _In_opt_ LPCGUID ActivityId,
    _In_ ULONG UserDataCount,
    _In_reads_opt_(UserDataCount) PEVENT_DATA_DESCRIPTOR UserData
    );

NTSTATUS
EtwUnregister(
    _In_ REGHANDLE RegHandle
    );

/* I/O control codes, registry. */

#define METHOD_BUFFERED 0
#define FILE_READ_ACCESS 0x0001
#define FILE_WRITE_ACCESS 0x0002
#define CTL_CODE(DeviceType, Function, Method, Access) \
    (((DeviceType) << 16) | ((Access) << 14) | ((Function) << 2) | (Method))

typedef ULONG ACCESS_MASK;

#define KEY_READ 0x20019
#define KEY_WRITE 0x20006
#define REG_OPTION_VOLATILE 1
#define REG_BINARY 3
#define REG_DWORD 4

#define OBJ_CASE_INSENSITIVE 0x00000040
#define OBJ_KERNEL_HANDLE 0x00000200

typedef struct _OBJECT_ATTRIBUTES {
    ULONG Length;
    HANDLE RootDirectory;
    PUNICODE_STRING ObjectName;
    ULONG Attributes;
    PVOID SecurityDescriptor;
    PVOID SecurityQualityOfService;
} OBJECT_ATTRIBUTES, *POBJECT_ATTRIBUTES;

FORCEINLINE
VOID
InitializeObjectAttributes(
    _Out_ POBJECT_ATTRIBUTES Attributes,
    _In_ PUNICODE_STRING Name,
    _In_ ULONG Flags,
    _In_opt_ HANDLE Root,
    _In_opt_ PVOID SecurityDescriptor
    )
{
    Attributes->Length = sizeof(*Attributes);
    Attributes->RootDirectory = Root;
    Attributes->ObjectName = Name;
    Attributes->Attributes = Flags;
    Attributes->SecurityDescriptor = SecurityDescriptor;
    Attributes->SecurityQualityOfService = NULL;
}

_Must_inspect_result_
NTSTATUS
ZwOpenKey(
    _Out_ PHANDLE KeyHandle,
    _In_ ACCESS_MASK DesiredAccess,
    _In_ POBJECT_ATTRIBUTES ObjectAttributes
    );

typedef enum _KEY_VALUE_INFORMATION_CLASS {
    KeyValueBasicInformation = 0,
    KeyValueFullInformation,
    KeyValuePartialInformation
} KEY_VALUE_INFORMATION_CLASS;

typedef struct _KEY_VALUE_PARTIAL_INFORMATION {
    ULONG TitleIndex;
    ULONG Type;
    ULONG DataLength;
    UCHAR Data[1];
} KEY_VALUE_PARTIAL_INFORMATION;

_Must_inspect_result_
NTSTATUS
ZwQueryValueKey(
    _In_ HANDLE KeyHandle,
    _In_ PUNICODE_STRING ValueName,
    _In_ KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
    _Out_writes_bytes_opt_(Length) PVOID KeyValueInformation,
    _In_ ULONG Length,
    _Out_ PULONG ResultLength
    );

/* Plug and Play requests. */

#define IRP_MJ_PNP 0x1b
#define IRP_MN_START_DEVICE 0x00
#define IRP_MN_QUERY_REMOVE_DEVICE 0x01
#define IRP_MN_REMOVE_DEVICE 0x02
#define IRP_MN_CANCEL_REMOVE_DEVICE 0x03
#define IRP_MN_STOP_DEVICE 0x04
#define IRP_MN_QUERY_STOP_DEVICE 0x05
#define IRP_MN_CANCEL_STOP_DEVICE 0x06
#define IRP_MN_SURPRISE_REMOVAL 0x17

typedef struct _IO_STACK_LOCATION {
    UCHAR MajorFunction;
    UCHAR MinorFunction;
} IO_STACK_LOCATION, *PIO_STACK_LOCATION;

typedef struct _IRP *PIRP;

PIO_STACK_LOCATION
IoGetCurrentIrpStackLocation(
    _In_ PIRP Irp
    );

VOID
IoSkipCurrentIrpStackLocation(
    _Inout_ PIRP Irp
    );

typedef enum _DEVICE_REGISTRY_PROPERTY {
    DevicePropertyDeviceDescription = 0x0,
    DevicePropertyHardwareID = 0x1
} DEVICE_REGISTRY_PROPERTY;

#endif
