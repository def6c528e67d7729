# SPDX-License-Identifier: MIT
"""The fields of the kernel's classic events, by group, type and version.

A row has the group, the types with their names, and the fields in their order for each version from which they apply.
A field is ``Name:type``. ``?`` before a field: older builds of the same version leave out this and all later fields.
The types:

- ``p`` is a pointer, ``z`` a size as wide as a pointer.
- ``i`` and ``u`` with a width are integers, ``x`` with a width the same in hexadecimal.
- ``a`` is ANSI and ``w`` UTF-16 text that ends in a zero, ``wN`` text in N characters.
- ``sid`` is a TOKEN_USER followed by its SID, ``ft`` a FILETIME, ``port`` a port in network order.
- ``guid``, ``ip4``, ``ip6``, ``pid``, ``tid`` and ``status`` are what they are called.
- ``[Count]`` makes an array of as many as that field says, ``[*]`` of as many as are left.

Pages: W32:ETW, one for each MOF class: process-typegroup1.md, process-v0-typegroup1.md … (the class is named beside each
row). For gaps and later versions: the MOF and the parsers that Microsoft publishes with TraceEvent
(KernelTraceEventParser), and ntwmi.h as the System Informer project documents it.
"""

from __future__ import annotations

from functools import cache, lru_cache

from harness.capture.etl import guid
from harness.capture.etl.field import REST, Field, InType, OutType
from harness.capture.etl.layout import Layout

KernelRow = tuple[int, str, dict[int, str]]

_IMAGE = "ImageBase:p ImageSize:z ProcessId:pid "
_IMAGE_REST = "DefaultBase:p Reserved1:u32 Reserved2:u32 Reserved3:u32 Reserved4:u32 FileName:w"
_IMAGES: dict[int, str] = {  # Image_V0_Load, Image_V1_Load, Image_Load
    0: "BaseAddress:p ModuleSize:u32 ImageFileName:w",
    1: _IMAGE + "FileName:w",
    2: _IMAGE + "ImageCheckSum:x32 TimeDateStamp:x32 Reserved0:u32 " + _IMAGE_REST,
    3: _IMAGE
    + "ImageCheckSum:x32 TimeDateStamp:x32 SignatureLevel:u8 SignatureType:u8 Reserved0:u16 "
    + _IMAGE_REST,
}
_PROCESS = "ProcessId:pid ParentId:pid SessionId:u32 ExitStatus:i32 "
_STACKS = "StackBase:p StackLimit:p UserStackBase:p UserStackLimit:p "
_IO = "IrpPtr:p FileObject:p FileKey:p "
_OLD_IO = "IrpPtr:p TTID:z FileObject:p FileKey:p "
_IP4 = "PID:pid size:u32 daddr:ip4 saddr:ip4 dport:port sport:port "
_IP6 = "PID:pid size:u32 daddr:ip6 saddr:ip6 dport:port sport:port "
_TCP_OPTIONS = "mss:u16 sackopt:u16 tsopt:u16 wsopt:u16 rcvwin:u32 rcvwinscale:i16 sndwinscale:i16 "
_DISK = "DiskNumber:u32 IrpFlags:x32 TransferSize:u32 Reserved:u32 ByteOffset:u64 FileObject:p Irp:p HighResResponseTime:u64"
_CPU = "MHz:u32 NumberOfProcessors:u32 MemSize:u32 PageSize:u32 AllocationGranularity:u32 ComputerName:w256 "

_MASKS = " ".join(f"GroupMask{number}:x32" for number in range(1, 9))

ROWS: tuple[KernelRow, ...] = (
    # Header_Extension_TypeGroup (TraceEvent's MOF); the identities of a WPP program's symbols (ntwmi.h)
    (0x00, "5 Extension 32 GroupMasksEnd", {0: _MASKS + " ?KernelEventVersion:x32"}),
    (0x00, "8 RundownComplete 48 RundownBegin 49 RundownEnd", {0: ""}),
    (0x00, "64 DbgIdRsds", {0: "Signature:guid Age:u32 PdbFileName:a"}),
    (0x00, "66 BuildLab 67 BinaryPath", {0: "Text:a"}),
    # DiskIo_TypeGroup1, 2, 3; DriverMajorFunctionCall …
    (0x01, "10 Read 11 Write", {2: _DISK, 3: _DISK + " IssuingThreadId:tid"}),
    (0x01, "12 ReadInit 13 WriteInit 15 FlushInit", {2: "Irp:p", 3: "Irp:p IssuingThreadId:tid"}),
    (
        0x01,
        "14 FlushBuffers",
        {
            2: "DiskNumber:u32 IrpFlags:x32 HighResResponseTime:u64 Irp:p",
            3: "DiskNumber:u32 IrpFlags:x32 HighResResponseTime:u64 Irp:p IssuingThreadId:tid",
        },
    ),
    (
        0x01,
        "34 DrvMjFnCall",
        {2: "MajorFunction:u32 MinorFunction:u32 RoutineAddr:p FileObject:p Irp:p UniqMatchId:u32"},
    ),
    # ETW_OPTICALIO_* of ntwmi.h
    (0x01, "55 OpticalRead 56 OpticalWrite", {2: _DISK + " IssuingThreadId:tid"}),
    (
        0x01,
        "57 OpticalFlush",
        {2: "DiskNumber:u32 IrpFlags:x32 HighResResponseTime:u64 Irp:p IssuingThreadId:tid"},
    ),
    (
        0x01,
        "58 OpticalReadInit 59 OpticalWriteInit 60 OpticalFlushInit",
        {2: "Irp:p IssuingThreadId:tid"},
    ),
    (0x01, "35 DrvMjFnRet 53 DrvComplReqRet", {2: "Irp:p UniqMatchId:u32"}),
    (0x01, "37 DrvComplRout", {2: "Routine:p IrpPtr:p UniqMatchId:u32"}),
    (0x01, "52 DrvComplReq", {2: "RoutineAddr:p Irp:p UniqMatchId:u32"}),
    # PageFault_TypeGroup1, PageFault_HardFault, PageFault_VirtualAlloc, PageFault_ImageLoadBacked
    (
        0x02,
        "10 TransitionFault 11 DemandZeroFault 12 CopyOnWrite 13 GuardPageFault 14 HardPageFault 15 AccessViolation",
        {0: "VirtualAddress:p ProgramCounter:p"},
    ),
    (
        0x02,
        "32 HardFault",
        {2: "InitialTime:u64 ReadOffset:x64 VirtualAddress:p FileObject:p TThreadId:tid ByteCount:u32"},
    ),
    (0x02, "98 VirtualAlloc 99 VirtualFree", {2: "BaseAddress:p RegionSize:z ProcessId:pid Flags:x32"}),
    (
        0x02,
        "128 VirtualAllocDCStart 129 VirtualAllocDCEnd",
        {2: "BaseAddress:p RegionSize:z ProcessId:pid Flags:x32"},
    ),
    (0x02, "105 ImageLoadBacked", {2: "FileObject:p DeviceChar:x32 FileChar:x16 LoadFlags:x16"}),
    # Process_V0_TypeGroup1, Process_V1_TypeGroup1, Process_TypeGroup1, Process_V2_TypeGroup2
    (
        0x03,
        "1 Start 2 End 3 DCStart 4 DCEnd 39 Defunct",
        {
            0: "ProcessId:z ParentId:z UserSID:sid ImageFileName:a",
            1: "PageDirectoryBase:p " + _PROCESS + "UserSID:sid ImageFileName:a",
            2: "UniqueProcessKey:p " + _PROCESS + "UserSID:sid ImageFileName:a CommandLine:w",
            3: "UniqueProcessKey:p "
            + _PROCESS
            + "DirectoryTableBase:p UserSID:sid ImageFileName:a CommandLine:w",
            4: "UniqueProcessKey:p "
            + _PROCESS
            + "DirectoryTableBase:p Flags:x32 UserSID:sid ImageFileName:a CommandLine:w PackageFullName:w ApplicationId:w"
            " ?ExitTime:ft",
        },
    ),
    (
        0x03,
        "32 PerfCtr 33 PerfCtrRundown",
        {
            2: "ProcessId:pid PageFaultCount:u32 HandleCount:u32 Reserved:u32 PeakVirtualSize:z PeakWorkingSetSize:z"
            " PeakPagefileUsage:z QuotaPeakPagedPoolUsage:z QuotaPeakNonPagedPoolUsage:z VirtualSize:z WorkingSetSize:z"
            " PagefileUsage:z QuotaPagedPoolUsage:z QuotaNonPagedPoolUsage:z PrivatePageCount:z"
        },
    ),
    (0x03, "11 Terminate", {2: "ProcessId:pid"}),
    (0x03, "10 Load", _IMAGES),
    (0x14, "10 Load 2 Unload 3 DCStart 4 DCEnd", _IMAGES),
    (0x14, "33 KernelBase 34 HypercallPage", {2: "ImageBase:p"}),
    # FileIo_V0_Name, FileIo_Name, FileIo_Create, FileIo_SimpleOp, FileIo_ReadWrite, FileIo_Info, FileIo_DirEnum, FileIo_OpEnd
    (0x04, "0 Name 32 FileCreate 35 FileDelete 36 FileRundown", {0: "FileObject:p FileName:w"}),
    (
        0x04,
        "37 MapFile 38 UnmapFile 39 MapFileDCStart 40 MapFileDCEnd",
        {
            2: "ViewBase:p FileObject:p MiscInfo:x64 ViewSize:z ProcessId:pid",
            3: "ViewBase:p FileObject:p MiscInfo:x64 ViewSize:z ByteOffset:u64 ProcessId:pid",
        },
    ),
    (
        0x04,
        "64 Create 78 CreateNew",
        {
            2: "IrpPtr:p TTID:z FileObject:p CreateOptions:x32 FileAttributes:x32 ShareAccess:x32 OpenPath:w",
            3: "IrpPtr:p FileObject:p TTID:tid CreateOptions:x32 FileAttributes:x32 ShareAccess:x32 OpenPath:w",
        },
    ),
    (0x04, "65 Cleanup 66 Close 73 Flush", {2: _OLD_IO, 3: _IO + "TTID:tid"}),
    (
        0x04,
        "67 Read 68 Write",
        {
            2: "Offset:u64 " + _OLD_IO + "IoSize:u32 IoFlags:x32",
            3: "Offset:u64 " + _IO + "TTID:tid IoSize:u32 IoFlags:x32 ?ExtraFlags:x32",
        },
    ),
    (
        0x04,
        "69 SetInfo 70 Delete 71 Rename 74 QueryInfo 75 FSControl",
        {2: _OLD_IO + "ExtraInfo:p InfoClass:u32", 3: _IO + "ExtraInfo:p TTID:tid InfoClass:u32"},
    ),
    (
        0x04,
        "72 DirEnum 77 DirNotify",
        {
            2: _OLD_IO + "Length:u32 InfoClass:u32 FileIndex:u32 FileName:w",
            3: _IO + "TTID:tid Length:u32 InfoClass:u32 FileIndex:u32 FileName:w",
        },
    ),
    (0x04, "76 OperationEnd", {2: "IrpPtr:p ExtraInfo:p NtStatus:status"}),
    (
        0x04,
        "79 DeletePath 80 RenamePath 81 SetLinkPath",
        {3: _IO + "ExtraInfo:p TTID:tid InfoClass:u32 FilePath:w"},
    ),
    # Thread_V0_TypeGroup1, Thread_V1_TypeGroup1 and 2, Thread_V2_TypeGroup1, Thread_TypeGroup1
    (
        0x05,
        "1 Start 3 DCStart",
        {
            0: "TThreadId:tid ProcessId:pid",
            1: "ProcessId:pid TThreadId:tid " + _STACKS + "StartAddr:p Win32StartAddr:p WaitMode:i8",
            2: "ProcessId:pid TThreadId:tid "
            + _STACKS
            + "StartAddr:p Win32StartAddr:p TebBase:p SubProcessTag:x32",
            3: "ProcessId:pid TThreadId:tid "
            + _STACKS
            + "Affinity:p Win32StartAddr:p TebBase:p SubProcessTag:x32 BasePriority:u8 PagePriority:u8 IoPriority:u8"
            " ThreadFlags:x8 ?ThreadName:w",
        },
    ),
    (
        0x05,
        "2 End 4 DCEnd",
        {
            0: "TThreadId:tid ProcessId:pid",
            1: "ProcessId:pid TThreadId:tid",
            2: "ProcessId:pid TThreadId:tid "
            + _STACKS
            + "StartAddr:p Win32StartAddr:p TebBase:p SubProcessTag:x32",
            3: "ProcessId:pid TThreadId:tid "
            + _STACKS
            + "Affinity:p Win32StartAddr:p TebBase:p SubProcessTag:x32 BasePriority:u8 PagePriority:u8 IoPriority:u8"
            " ThreadFlags:x8 ?ThreadName:w",
        },
    ),
    (
        0x05,
        "36 CSwitch",  # CSwitch_V1, CSwitch
        {
            1: "NewThreadId:tid OldThreadId:tid NewThreadPriority:i8 OldThreadPriority:i8 NewThreadQuantum:i8"
            " OldThreadQuantum:i8 OldThreadWaitReason:i8 OldThreadWaitMode:i8 OldThreadState:i8"
            " OldThreadWaitIdealProcessor:i8 NewThreadWaitTime:x32",
            2: "NewThreadId:tid OldThreadId:tid NewThreadPriority:i8 OldThreadPriority:i8 PreviousCState:u8"
            " SpareByte:i8 OldThreadWaitReason:i8 OldThreadWaitMode:i8 OldThreadState:i8"
            " OldThreadWaitIdealProcessor:i8 NewThreadWaitTime:x32 Reserved:u32",
        },
    ),
    (
        0x05,
        "48 SetPriority 49 SetBasePriority 51 SetPagePriority 52 SetIoPriority",
        {2: "ThreadId:tid OldPriority:i8 NewPriority:i8 DynamicPriority:i8 Reserved:i8"},
    ),
    (0x05, "50 ReadyThread", {2: "TThreadId:tid AdjustReason:i8 AdjustIncrement:i8 Flag:x8 Reserved:i8"}),
    (0x05, "53 SetAffinity", {2: "Mask:p ThreadId:tid Group:u16 Reserved:u16"}),
    (0x05, "57 WorkerThread", {1: "TThreadId:tid StartTime:u64 ThreadRoutine:p"}),
    (0x05, "60 AntiStarvationBoost", {2: "ThreadId:tid ProcessorIndex:u16 OldPriority:i8 SpareByte:u8"}),
    (0x05, "62 Enqueue", {2: "Entry:p ThreadId:tid"}),
    (0x05, "63 Dequeue", {2: "ThreadId:tid EntryCount:u32 Entries:p[EntryCount]"}),
    (0x05, "72 SetName", {2: "ProcessId:pid ThreadId:tid ThreadName:w"}),
    # TcpIp_V0_TypeGroup1, TcpIp_V1_TypeGroup1, TcpIp_SendIPV4, TcpIp_TypeGroup1 to 4, TcpIp_SendIPV6, TcpIp_Fail
    (
        0x06,
        "10 Send",
        {
            0: "daddr:ip4 saddr:ip4 dport:port sport:port size:u32 PID:pid",
            1: _IP4 + "startime:u32 endtime:u32 connid:p seqnum:u32",
            2: _IP4 + "startime:u32 endtime:u32 seqnum:u32 connid:p",
        },
    ),
    (
        0x06,
        "11 Recv 13 Disconnect 14 Retransmit 16 Reconnect 18 TCPCopy 19 ARPCopy 20 FullACK 21 PartACK 22 DupACK",
        {
            0: "daddr:ip4 saddr:ip4 dport:port sport:port size:u32 PID:pid",
            1: _IP4 + "connid:p seqnum:u32",
            2: _IP4 + "seqnum:u32 connid:p",
        },
    ),
    (
        0x06,
        "12 Connect 15 Accept",
        {
            0: "daddr:ip4 saddr:ip4 dport:port sport:port size:u32 PID:pid",
            1: _IP4 + _TCP_OPTIONS + "connid:p seqnum:u32",
            2: _IP4 + _TCP_OPTIONS + "seqnum:u32 connid:p",
        },
    ),
    (0x06, "17 Fail", {1: "Proto:u32", 2: "Proto:u16 FailureCode:u16"}),
    (0x06, "26 SendIPV6", {2: _IP6 + "startime:u32 endtime:u32 seqnum:u32 connid:p"}),
    (
        0x06,
        "27 RecvIPV6 29 DisconnectIPV6 30 RetransmitIPV6 32 ReconnectIPV6 34 TCPCopyIPV6",
        {2: _IP6 + "seqnum:u32 connid:p"},
    ),
    (0x06, "28 ConnectIPV6 31 AcceptIPV6", {2: _IP6 + _TCP_OPTIONS + "seqnum:u32 connid:p"}),
    # UdpIp_V0_TypeGroup1, UdpIp_V1_TypeGroup1, UdpIp_TypeGroup1 and 2, UdpIp_Fail
    (
        0x08,
        "10 Send 11 Recv",
        {
            0: "context:p saddr:ip4 sport:port size:u16 daddr:ip4 dport:port dsize:u16",
            1: _IP4.strip(),
            2: _IP4 + "seqnum:u32 connid:p",
        },
    ),
    (0x08, "17 Fail", {2: "Proto:u16 FailureCode:u16"}),
    (0x08, "26 SendIPV6 27 RecvIPV6", {2: _IP6 + "seqnum:u32 connid:p"}),
    # Registry_V0_TypeGroup1, Registry_V1_TypeGroup1, Registry_TypeGroup1
    (
        0x09,
        (
            "10 Create 11 Open 12 Delete 13 Query 14 SetValue 15 DeleteValue 16 QueryValue 17 EnumerateKey"
            " 18 EnumerateValueKey 19 QueryMultipleValue 20 SetInformation 21 Flush 22 KCBCreate 23 KCBDelete"
            " 24 KCBRundownBegin 25 KCBRundownEnd 26 Virtualize 27 Close"
        ),
        {
            0: "Status:p KeyHandle:p ElapsedTime:i64 KeyName:w",
            1: "Status:p KeyHandle:p ElapsedTime:i64 Index:u32 KeyName:w",
            2: "InitialTime:i64 Status:status Index:u32 KeyHandle:p KeyName:w",
        },
    ),
    (0x0A, "32 Message", {0: "Component:u32 Level:u32 Message:a"}),  # ETW_DEBUG_PRINT_EVENT (ntwmi.h)
    # SystemConfig_V0_CPU, SystemConfig_CPU, … (CPU_CONFIG_RECORD of ntwmi.h for version 3)
    (
        0x0B,
        "10 CPU",
        {
            0: _CPU + "DomainName:w132 HyperThreadingFlag:p",
            2: _CPU + "DomainName:w134 HyperThreadingFlag:p",
            3: _CPU + "DomainName:w134 HyperThreadingFlag:p HighestUserAddress:p ProcessorArchitecture:u16"
            " ProcessorLevel:u16 ProcessorRevision:x16 NxEnabled:u8 PaeEnabled:u8 ?MemorySpeed:u32",
        },
    ),
    (
        0x0B,
        "11 PhyDisk",
        {
            0: "DiskNumber:u32 BytesPerSector:u32 SectorsPerTrack:u32 TracksPerCylinder:u32 Cylinders:u64 SCSIPort:u32"
            " SCSIPath:u32 SCSITarget:u32 SCSILun:u32 Manufacturer:w256 PartitionCount:u32 WriteCacheEnabled:u8 Pad:u8"
            " BootDriveLetter:w3 Spare:w2"
        },
    ),
    (
        0x0B,
        "12 LogDisk",
        {
            0: "StartOffset:u64 PartitionSize:u64 DiskNumber:u32 Size:u32 DriveType:u32 DriveLetterString:w4 Pad1:u32"
            " PartitionNumber:u32 SectorsPerCluster:u32 BytesPerSector:u32 Pad2:u32 NumberOfFreeClusters:i64"
            " TotalNumberOfClusters:i64 FileSystem:w16 VolumeExt:u32 ?Pad3:u32"
        },
    ),
    (
        0x0B,
        "13 NIC",
        {
            0: "NICName:w256 Index:u32 PhysicalAddrLen:u32 PhysicalAddr:w8 Size:u32 IpAddress:i32 SubnetMask:i32"
            " DhcpServer:i32 Gateway:i32 PrimaryWinsServer:i32 SecondaryWinsServer:i32 DnsServer1:i32 DnsServer2:i32"
            " DnsServer3:i32 DnsServer4:i32 Data:u32",
            2: "PhysicalAddr:x64 PhysicalAddrLen:u32 Ipv4Index:u32 Ipv6Index:u32 NICDescription:w IpAddresses:w"
            " DnsServerAddresses:w",
        },
    ),
    (
        0x0B,
        "14 Video",
        {
            0: "MemorySize:u32 XResolution:u32 YResolution:u32 BitsPerPixel:u32 VRefresh:u32 ChipType:w256 DACType:w256"
            " AdapterString:w256 BiosString:w256 DeviceId:w256 StateFlags:x32"
        },
    ),
    (
        0x0B,
        "15 Services",
        {
            0: "ServiceName:w34 DisplayName:w256 ProcessName:w34 ProcessId:pid",
            2: "ProcessId:pid ServiceState:x32 SubProcessTag:x32 ServiceName:w DisplayName:w ProcessName:w",
            3: "ProcessId:pid ServiceState:x32 SubProcessTag:x32 ServiceName:w DisplayName:w ProcessName:w"
            " LoadOrderGroup:w SvchostGroup:w",
        },
    ),
    (0x0B, "16 Power", {0: "S1:u8 S2:u8 S3:u8 S4:u8 S5:u8 AoAc:u8 Pad2:u8 Pad3:u8"}),
    (
        0x0B,
        "17 Network",
        {2: "TcbTablePartitions:u32 MaxHashTableSize:u32 MaxUserPort:u32 TcpTimedWaitDelay:u32"},
    ),
    (
        0x0B,
        "18 OpticalMedia",
        {
            2: "DiskNumber:u16 BusType:u16 DeviceType:u16 MediaType:u16 StartingOffset:u64 Size:u64"
            " NumberOfFreeBlocks:u64 TotalNumberOfBlocks:u64 NextWritableAddress:u64 NumberOfSessions:u32"
            " NumberOfTracks:u32 BytesPerSector:u32 DiscStatus:u16 LastSessionStatus:u16 DriveLetter:w FileSystem:w"
            " Device:a"
        },
    ),
    (
        0x0B,
        "21 IRQ",
        {
            0: "IRQAffinity:x64 IRQNum:u32 DeviceDescriptionLen:u32 DeviceDescription:w",
            3: "IRQAffinity:x64 IRQGroup:u16 Reserved:u16 IRQNum:u32 DeviceDescriptionLen:u32 DeviceDescription:w",
        },
    ),
    (
        0x0B,
        "22 PnP",
        {
            0: "IDLength:u32 DescriptionLength:u32 FriendlyNameLength:u32 DeviceID:w DeviceDescription:w FriendlyName:w",
            4: "ClassGuid:guid UpperFilterCount:u32 LowerFilterCount:u32 DeviceID:w DeviceDescription:w FriendlyName:w"
            " PdoName:w ServiceName:w UpperFilters:w[UpperFilterCount] LowerFilters:w[LowerFilterCount]",
            5: "ClassGuid:guid UpperFilterCount:u32 LowerFilterCount:u32 DevStatus:x32 DevProblem:u32 DeviceID:w"
            " DeviceDescription:w FriendlyName:w PdoName:w ServiceName:w UpperFilters:w[UpperFilterCount]"
            " LowerFilters:w[LowerFilterCount]",
        },
    ),
    (
        0x0B,
        "23 IDEChannel",
        {
            0: "TargetId:u32 DeviceType:x32 DeviceTimingMode:x32 LocationInformationLen:u32 LocationInformation:w"
        },
    ),
    (0x0B, "25 Platform", {2: "SystemManufacturer:w SystemProductName:w BiosDate:w BiosVersion:w"}),
    (0x0B, "28 DPI", {2: "MachineDPI:u32 UserDPI:u32"}),
    # SampledProfile, SysCallEnter, SysCallExit, ISR, DPC; PERFINFO_* of ntwmi.h
    (0x0F, "34 Mark", {0: "Text:a"}),
    (0x0F, "46 SampleProf", {2: "InstructionPointer:p ThreadId:tid Count:u16 Flags:x8 Rank:u8"}),
    (0x0F, "47 PMCSample", {2: "InstructionPointer:p ThreadId:tid ProfileSource:u16 Reserved:u16"}),
    (
        0x0F,
        "72 SetInterval 73 CollectionStart 74 CollectionEnd",
        {
            2: "Source:u32 NewInterval:u32 OldInterval:u32",
            3: "Source:u32 NewInterval:u32 OldInterval:u32 SourceName:w",
        },
    ),
    (0x0F, "51 SysClEnter", {0: "SysCallAddress:p"}),
    (0x0F, "52 SysClExit", {0: "SysCallNtStatus:status"}),
    (
        0x0F,
        "67 ISR 50 ISR-MSI 95 ISR-Passive",
        {
            1: "InitialTime:u64 Routine:p ReturnValue:u32",
            2: "InitialTime:u64 Routine:p ReturnValue:u8 Vector:u16 Reserved:u8 ?Message:u32",
        },
    ),
    (0x0F, "66 ThreadDPC 68 DPC 69 TimerDPC", {1: "InitialTime:u64 Routine:p"}),
    (0x0F, "58 DebuggerEnabled 59 DebuggerExit", {0: ""}),
    (0x0F, "79 ClockInterrupt", {2: "InterruptTime:u64 Flags:x16"}),
    (0x0F, "91 IPI", {2: "RequestType:x32 TargetProcessor:u32"}),
    (
        0x0F,
        "100 DPCEnqueue",
        {2: "Key:p DpcQueueDepth:i32 DpcCount:u32 TargetProcessorIndex:u32 Importance:u8 Reserved:u8[3]"},
    ),
    (0x0F, "101 DPCExecution", {2: "DpcRoutine:p Key:p"}),
    # PERFINFO_* of ntwmi.h: the power manager's own events
    (0x12, "32 BatteryLifeInfo", {2: "RemainingCapacity:u32 Rate:u32"}),
    (0x12, "33 IdleStateChange", {2: "State:u32 Throttle:u32 Direction:u32"}),
    (0x12, "34 SetPowerAction", {2: "Trigger:p PowerAction:u32 LightestState:u32"}),
    (0x12, "35 SetPowerActionRet", {2: "Trigger:p Status:status ?Pad:u32"}),
    (0x12, "36 SetDevicesState", {2: "SystemState:u32 Waking:u8 Shutdown:u8 IrpMinor:u8 ?Pad:u8"}),
    (0x12, "37 SetDevicesStateRet 41 SessionCalloutRet", {2: "Status:status"}),
    (
        0x12,
        "38 NotifyDevice",
        {
            2: "Irp:p DriverStart:p OrderLevel:u8 MajorFunction:u8 MinorFunction:u8 Pad:u8 Type:u32 State:u32"
            " DeviceNameLength:u32 DeviceName:w"
        },
    ),
    (0x12, "39 NotifyDeviceComplete", {2: "Irp:p Status:status ?Pad:u32"}),
    (0x12, "40 SessionCallout", {2: "SystemAction:u32 MinSystemState:u32 Flags:x32 PowerStateTask:u32"}),
    (0x12, "48 PreSleep", {2: "PerformanceCounter:u64 PerformanceFrequency:u64"}),
    (0x12, "49 PostSleep 50 CalibratedPerfCounter", {2: "PerformanceCounter:u64"}),
    (
        0x12,
        "51 PerfStateChange",
        {2: "Type:u32 NewState:u32 OldState:u32 Result:status Processors:x64"},
    ),
    (0x12, "53 IdleStateChange", {2: "NewState:u32 OldState:u32 Processors:x64"}),
    (0x12, "54 ThermalConstraint", {2: "Constraint:u32 Pad:u32 Processors:x64"}),
    (
        0x12,
        "57 IdleStateEnter",
        {2: "State:u32 Properties:x16 ExpectedWakeReason:u8 Reserved:u8 ExpectedDuration:u64"},
    ),
    (0x12, "58 IdleStateExit", {2: "State:u32 Status:x32"}),
    # StackWalk_Event; STACK_WALK_EVENT_DATA of ntwmi.h
    (0x18, "32 Stack", {0: "EventTimeStamp:u64 StackProcess:pid StackThread:tid Stack:p[*]"}),
    (0x18, "34 KeyCreate 35 KeyDelete 36 KeyRundown", {2: "StackKey:p Stack:p[*]"}),
    (
        0x18,
        "37 StackKeyKernel 38 StackKeyUser",
        {2: "EventTimeStamp:u64 StackProcess:pid StackThread:tid StackKey:p"},
    ),
    # ALPC_Send_Message … ALPC_Unwait, SplitIo_Info
    (0x1A, "33 SendMessage 34 ReceiveMessage 35 WaitForReply", {2: "MessageID:u32"}),
    (0x1A, "36 WaitForNewMessage", {2: "IsServerPort:u32 PortName:a"}),
    (0x1A, "37 Unwait", {2: "Status:status"}),
    (0x1B, "32 VolMgr", {2: "ParentIrp:p ChildIrp:p"}),
)

MERGE_ROWS: dict[bytes, tuple[str, dict[int, tuple[str, str]]]] = {
    guid.parse("b3e675d7-2554-4f18-830b-2762732560de"): (
        "ImageID",
        {
            0: ("Image", "ImageBase:p ImageSize:z ProcessId:pid TimeDateStamp:x32 OriginalFileName:w"),
            32: ("None", "ImageBase:p ProcessId:pid"),
            36: ("DbgIdRsds", "ImageBase:p ProcessId:pid Signature:guid Age:u32 PdbFileName:a"),
            37: ("DbgIdILRsds", "ImageBase:p ProcessId:pid Signature:guid Age:u32 PdbFileName:a"),
            64: (
                "FileVersion",
                (
                    "ImageSize:u32 TimeDateStamp:x32 OrigFileName:w FileDescription:w FileVersion:w BinFileVersion:w"
                    " VerLanguage:w ProductName:w CompanyName:w ProductVersion:w FileId:w ProgramId:w"
                ),
            ),
        },
    ),
    guid.parse("9b79ee91-b5fd-41c0-a243-4248e266e9d0"): (
        "SysConfig",
        {
            32: ("BuildInfo", "InstallDate:ft BuildLab:w ProductName:w"),
            33: ("SystemPaths", "SystemDirectory:w SystemWindowsDirectory:w"),
            34: ("UnknownVolume", "NtPath:w"),
            35: ("VolumeMapping", "NtPath:w DosPath:w"),
        },
    ),
}
"""Events that a merge adds about the machine (TraceEvent, SymbolTraceEventParser): by class, its name and types."""

_TYPES: dict[str, tuple[int, int]] = {
    "p": (InType.POINTER, OutType.HEX),
    "z": (InType.POINTER, OutType.UNSIGNED),
    "a": (InType.ANSI, 0),
    "w": (InType.UTF16, 0),
    "sid": (InType.WBEM_SID, 0),
    "guid": (InType.GUID, 0),
    "ft": (InType.FILETIME, 0),
    "ip4": (InType.UINT32, OutType.IPV4),
    "ip6": (InType.BINARY, OutType.IPV6),
    "port": (InType.UINT16, OutType.PORT),
    "pid": (InType.UINT32, OutType.PID),
    "tid": (InType.UINT32, OutType.TID),
    "status": (InType.UINT32, OutType.NTSTATUS),
    "i8": (InType.INT8, 0),
    "i16": (InType.INT16, 0),
    "i32": (InType.INT32, 0),
    "i64": (InType.INT64, 0),
    "u8": (InType.UINT8, 0),
    "u16": (InType.UINT16, 0),
    "u32": (InType.UINT32, 0),
    "u64": (InType.UINT64, 0),
    "x8": (InType.UINT8, OutType.HEX),
    "x16": (InType.UINT16, OutType.HEX),
    "x32": (InType.UINT32, OutType.HEX),
    "x64": (InType.UINT64, OutType.HEX),
}


def _field(written: str) -> Field:
    name, _, kind = written.partition(":")
    kind, _, amount = kind.partition("[")
    count: int | str | None = None
    if amount:
        amount = amount.removesuffix("]")
        count = REST if amount == "*" else int(amount) if amount.isdigit() else amount
    length: int | None = 16 if kind == "ip6" else None
    if kind[0] == "w" and kind[1:].isdigit():
        kind, length = "w", int(kind[1:])
    in_type, out_type = _TYPES[kind]
    return Field(name=name, in_type=in_type, out_type=out_type, count=count, length=length)


@cache
def layout(written: str) -> Layout:
    """Return the layout that a row's text describes, made on first use."""
    needed, mark, _optional = written.partition("?")
    fields = tuple(_field(one) for one in written.replace("?", "").split())
    return Layout(fields, optional=len(fields) - len(needed.split()) if mark else 0)


def _tables() -> tuple[dict[int, str], dict[int, dict[int, str]]]:
    names: dict[int, str] = {}
    layouts: dict[int, dict[int, str]] = {}
    for group, types, versions in ROWS:
        words = types.split()
        for number, name in zip(words[::2], words[1::2], strict=True):
            names[group << 8 | int(number)] = name
            layouts[group << 8 | int(number)] = versions
    return names, layouts


NAMES, _LAYOUTS = _tables()
"""Names of the types in ROWS, by hook: group * 256 + type."""


@lru_cache(maxsize=4096)
def find(hook: int, version: int) -> Layout | None:
    """Return the layout of an event in this version, or None."""
    versions = _LAYOUTS.get(hook)
    if versions is None:
        return None
    fitting = [one for one in versions if one <= version]
    return layout(versions[max(fitting)]) if fitting else None
