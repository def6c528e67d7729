# SPDX-License-Identifier: MIT
"""Names of the kernel's classic events, by group and type.

One line for each group: its number, then ``type=Name`` in hexadecimal. Events whose fields are known are left out: they
have the names of their documentation (harness.capture.etl.kernel_events).

Source: the hook ids of ntwmi.h as the System Informer project documents them.
"""

from __future__ import annotations

from harness.capture.etl import kernel_events

_WRITTEN = """
00: 00=Header 41=DbgidNb10
01: 20=DriverInit 21=DriverInitComplete 24=DriverCompletionroutineCall 26=DriverAddDeviceCall 27=DriverAddDeviceReturn
  28=DriverStartioCall 29=DriverStartioReturn 30=PrefetchAction 31=PrefetchRequest 32=PrefetchReadlist 33=PrefetchRead
  36=BootPrefetchInformation
02: 21=Removepagebycolor 22=Removepagefromlist 23=Pageinmemory 24=Insertinfreelist 25=Insertinmodifiedlist
  26=Insertinlist 28=Insertatfront 29=Unlinkfromstandby 2a=Unlinkffreeorzero 2b=Workingsetmanager 2c=Trimprocess
  2e=Zerosharecount 3c=Wsinfoprocess 45=FaultaddrWithIp 46=Trimsession 47=Memorysnaplite 48=PfmappedSectionRundown
  49=PfmappedSectionCreate 4a=Wsinfosession 4b=CreateSession 4c=SessionRundownDCEnd 4d=SessionRundownDCStart
  4e=SessionDelete 4f=PfmappedSectionDelete 64=RangeRundown 65=RangeCreate 66=RangeReserve 67=RangeRelease
  68=RangeDestroy 70=Meminfo 71=ContmemGenerate 72=FileStoreFault 73=InmemoryStoreFault 74=CompressedPage
  75=PageinmemoryActive 76=PageAccess 77=PageRelease 78=PageRangeAccess 79=PageRangeRelease 7a=PageCombine
  7b=KernelMemusage 7c=MmStats 7d=MeminfoexWs 7e=MeminfoexSessionws 7f=VirtualRotate 82=PageAccessEx 83=Removefromws
  84=WsshareableRundown 85=InmemoryactiveRundown 86=MemResetInfo 87=PfmappedSectionObjectCreate
  88=PfmappedSectionObjectDelete
03: 23=Inswapprocess 24=Freeze 25=Thaw 26=BootPhaseStart 28=SetAffinity 30=ChargeWakeCounterUser
  31=ChargeWakeCounterExecution 32=ChargeWakeCounterKernel 33=ChargeWakeCounterInstrumentation
  34=ChargeWakeCounterPreserveProcess 40=ReleaseWakeCounterUser 41=ReleaseWakeCounterExecution
  42=ReleaseWakeCounterKernel 43=ReleaseWakeCounterInstrumentation 44=ReleaseWakeCounterPreserveProcess
  50=WakeDropUser 51=WakeDropExecution 52=WakeDropKernel 53=WakeDropInstrumentation 54=WakeDropPreserveProcess
  60=WakeEventUser 61=WakeEventExecution 62=WakeEventKernel 63=WakeEventInstrumentation 64=WakeEventPreserveProcess
  70=DebugEvent
04: 21=FilenameSame 22=FilenameNull 52=Setlink
05: 25=ContextswapBatch 29=Spinlock 2a=Queue 2b=Resource 2c=Pushlock 2d=WaitSingle 2e=WaitMultiple 2f=DelayExecution
  3a=DfssStartNewInterval 3b=DfssProcessIdleOnlyQueue 3d=Migration 40=WorkerThreadItemStart 41=WorkerThreadItemEnd
  42=AutoBoostSetFloor 43=AutoBoostClearFloor 44=AutoBoostNoEntries 45=SubprocesstagChanged
06: 21=FailIpv6 23=ArpcopyIpv6 24=FullackIpv6 25=PartackIpv6 26=DupackIpv6
07: 20=Create 21=Terminate 22=Open 23=AssignProcess 24=RemoveProcess 25=Set 26=Query 27=SetFailed 28=QueryFailed
  29=SetNotification 2a=SendNotification 2b=QueryViolation 2c=SetCpuRate 2d=SetNetRate
09: 20=Cmcellreferred 21=SetValue 22=Counters 23=Config 24=HiveInitialize 25=HiveDestroy 26=HiveLink
  27=HiveRundownDCEnd 28=HiveDirty 30=NotifRegister 31=NotifDeliver
0b: 18=Numanode 1a=Processorgroup 1b=Processornumber 1d=Codeintegrity 1e=Machineid
0d: 20=Subscribe 21=Unsubscribe 22=Callback 23=Publish 24=NameSubRundown
0e: 20=Allocatepool 21=AllocatepoolSession 22=Freepool 23=FreepoolSession 24=Addpoolpage 25=AddpoolpageSession
  26=Bigpoolpage 27=BigpoolpageSession 28=PoolsnapDCStart 29=PoolsnapDCEnd 2a=BigpoolsnapDCStart 2b=BigpoolsnapDCEnd
  2c=PoolsnapSessionDCStart 2d=PoolsnapSessionDCEnd 2e=SessionbigpoolsnapDCStart 2f=SessionbigpoolsnapDCEnd
0f: 20=RundownCheckpoint 24=Asyncmark 26=Imagename 27=DelaysCcCanIWrite 30=PmcConfig 35=Backtrace
  36=BacktraceUserstack 37=SampledProfileCache 38=ExceptionStack 39=BranchTrace 40=BranchTraceDebug
  41=BranchAddressDebug 46=IotimerExpiration 47=SampledProfileNmi 4b=SpinlockDCStart 4c=SpinlockDCEnd
  4d=EresourceDCStart 4e=EresourceDCEnd 50=TimerExpirationStart 51=TimerExpiration 52=TimerSetPeriodic
  53=TimerSetOneShot 54=TimerSetThread 55=TimerCancel 56=TimeAdjustment 57=ClockModeSwitch 58=ClockTimeUpdate
  59=ClockDynamicTickVeto 5a=ClockConfiguration 5c=UnexpectedInterrupt 5d=IotimerStart 5e=IotimerStop 60=WdfInterrupt
  61=WdfPassiveInterrupt 62=WdfDpc 63=CpuCacheFlush 66=InterruptSteering 67=WdfWorkItem 68=Ktimer2Set
  69=Ktimer2Expiration 6a=Ktimer2Cancel 6b=Ktimer2Disable 6c=Ktimer2Finalization 6d=ShouldYieldProcessor
  80=FunctionCall 81=FunctionReturn 82=FunctionEnter 83=FunctionExit 84=Tailcall 85=Trap 86=SpinlockAcquire
  87=SpinlockRelease 88=CapComment 89=CapRundown
10: 20=Create 21=Alloc 22=Realloc 23=Destroy 24=Free 25=Extend 26=Snapshot 27=CreateSnapshot 28=DestroySnapshot
  29=ExtendSnapshot 2a=Contract 2b=Lock 2c=Unlock 2d=Validate 2e=Walk 2f=SubsegmentAlloc 30=SubsegmentFree
  31=SubsegmentAllocCache 32=SubsegmentFreeCache 33=Commit 34=Decommit 35=SubsegmentInit 36=AffinityEnable
  38=SubsegmentActivated 39=AffinityAssign 3a=ReuseThresholdActivated
11: 20=CreateHandle 21=CloseHandle 22=DuplicateHandle 24=ObjectTypeDCStart 25=ObjectTypeDCEnd 26=ObjectHandleDCStart
  27=ObjectHandleDCEnd 30=CreateObject 31=DeleteObject 32=ReferenceObject 33=DereferenceObject
12: 34=PpmThrottleStateChange 37=SignalResumeUi 38=SignalVideoOn 3b=PpmPlatformIdleStateEnter 3c=PpmIdleExitLatency
  3d=PpmIdleProcessorSelection 3e=PpmIdlePlatformSelection 3f=PpmCoordinatedIdleEnter 40=PpmCoordinatedIdleExit
13: 18=Cowheader 19=Cowblob 1a=CowblobClosed 20=ModuleboundEnt 21=ModuleboundJump 22=ModuleboundRet 23=ModuleboundCall
  24=ModuleboundCallret 25=ModuleboundInt2e 26=ModuleboundInt2b 27=ModuleboundFulltrace
14: 01=Load 20=Relocation 80=LdrLockAcquireAttempt 81=LdrLockAcquireSuccess 82=LdrLockAcquireFail
  83=LdrLockAcquireWait 84=LdrProcInitDone 85=LdrCreateSection 86=LdrSectionCreated 87=LdrMapView 90=LdrRelocateImage
  91=LdrImageRelocated 92=LdrHandleOldDescriptors 93=LdrOldDescriptorsHandled 94=LdrHandleNewDescriptors
  95=LdrNewDescriptorsHandled 96=LdrDllmainExit a0=LdrFindDll a1=LdrViewMapped a2=LdrLockRelease a3=LdrDllmainEnter
  a4=LdrError a5=LdrViewMapping a6=LdrSnapping a7=LdrSnapped a8=LdrLoading a9=LdrLoaded aa=LdrFoundKnownDll
  ab=LdrAbnormal ac=LdrPlaceholder ad=LdrRdyToInit ae=LdrRdyToRun b0=LdrNewDllLoad b1=LdrNewDllAsData
  c0=LdrExternalPath c1=LdrGeneratedPath d0=LdrApisetResolving d1=LdrApisetHosted d2=LdrApisetUnhosted
  d3=LdrApisetUnresolved d4=LdrSearchSecurity d5=LdrSearchPathSecurity
16: 00=WorkitemEnqueue 01=WorkitemDequeue 02=WorkitemComplete 03=ReadAhead 04=WriteBehind 05=LazyWriteScan
  06=CanIWriteFail 07=MapView 08=UnmapView 09=FlushCache 0a=FlushSection 0b=ReadAheadPrefetch 0c=ScheduleReadAhead
  0d=LoggedStreamInfo 0e=ExtraWritebehindThread
17: 20=Enter 21=Leave 22=Collision 23=Initialize
19: 20=DirectedSwitchStart 21=DirectedSwitchEnd 22=Park 23=Disassociate 24=ContextSwitch
1a: 26=ConnectRequest 27=ConnectSuccess 28=ConnectFail 29=ClosePort
1c: 20=CallbackEnqueue 21=CallbackDequeue 22=CallbackStart 23=CallbackStop 24=CallbackCancel 25=PoolCreate
  26=PoolClose 27=PoolThMinSet 28=PoolThMaxSet 29=WorkerNumanodeSwitch 2a=TimerSet 2b=TimerCancelled
  2c=TimerSetNttimer 2d=TimerCancelNttimer 2e=TimerExpirationBegin 2f=TimerExpirationEnd 30=TimerExpiration
"""


def _names() -> dict[int, str]:
    names: dict[int, str] = {}
    group = 0
    for word in _WRITTEN.split():
        number, _, name = word.partition("=")
        if name:
            names[group << 8 | int(number, 16)] = name
        else:
            group = int(word.removesuffix(":"), 16)
    return names


NAMES = _names() | kernel_events.NAMES
"""Names by hook: group * 256 + type."""
