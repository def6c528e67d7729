# SPDX-License-Identifier: MIT
# Essential: by it the host receives the messages of drivers and crashes. The parts that only keep boots quiet are comfort.
# The kernel's messages: debug prints are not filtered, a bug check leaves a dump and does not restart, boots ask nothing.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Read at boot (Microsoft Learn: "Reading and Filtering Debugging Messages"): DEFAULT is for DbgPrint, IHVDRIVER
# for the harness's driver.
$filter = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Debug Print Filter'
Set-RegistryValue -Key $filter -Name 'DEFAULT' -Value 0xf
Set-RegistryValue -Key $filter -Name 'IHVDRIVER' -Value 0xf

# A kernel dump, after an NMI too, which is kept. No restart, so that screen, registers and memory can be captured
# (Microsoft Learn: "Varieties of Kernel-Mode Dump Files"; "Generate a kernel or complete crash dump"; "Configure system
# failure and recovery options in Windows"; NMICrashDump: "Enable serial console and memory dump collection" of Azure).
$crash = 'HKLM:\SYSTEM\CurrentControlSet\Control\CrashControl'
Set-RegistryValue -Key $crash -Name 'CrashDumpEnabled' -Value 2
Set-RegistryValue -Key $crash -Name 'AlwaysKeepMemoryDump' -Value 1
Set-RegistryValue -Key $crash -Name 'NMICrashDump' -Value 1
Set-RegistryValue -Key $crash -Name 'AutoReboot' -Value 0
# Written at the crash itself, where the host finds it: Windows reads a page file only at a next start, which never comes (Microsoft Learn
# archive, ntdebugging: "How to use the DedicatedDumpFile registry value"; the size is in MB).
$dump = Join-Path -Path "$env:SystemDrive\" -ChildPath $Settings.dump.file
Set-RegistryValue -Key $crash -Name 'DedicatedDumpFile' -Value $dump -Kind 'String'
Set-RegistryValue -Key $crash -Name 'DumpFileSize' -Value $Settings.dump.megabytes

# COM1 is the host's: no emergency console on it (Microsoft Learn: "BCDEdit /ems"). Markers are also found within its output.
Invoke-Comfort -What 'no emergency console' -Action {
    Invoke-Native -Tool 'bcdedit.exe' -Arguments '/ems', 'off' | Out-Null
}
# After a killed run Windows starts instead of asking how (Microsoft Learn: "BCDEdit /set", bootstatuspolicy, recoveryenabled).
# Comfort: each run starts from the disk of a clean shutdown anyway.
Invoke-Comfort -What 'boots ask nothing' -Action {
    Invoke-Native -Tool 'bcdedit.exe' -Arguments '/set', '{current}', 'bootstatuspolicy', 'ignoreallfailures' | Out-Null
    Invoke-Native -Tool 'bcdedit.exe' -Arguments '/set', '{current}', 'recoveryenabled', 'no' | Out-Null
}
