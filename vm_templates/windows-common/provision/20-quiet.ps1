# SPDX-License-Identifier: MIT
# What the guest would do by itself, and what would be taken for the effect of a hot-add, is turned off.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Microsoft Learn: "Powercfg command-line options".
# 1 where the machine cannot hibernate anyway.
Invoke-Native -Tool 'powercfg.exe' -Arguments '/hibernate', 'off' -Success 0, 1 | Out-Null
foreach ($timeout in 'standby-timeout-ac', 'monitor-timeout-ac', 'disk-timeout-ac') {
    Invoke-Native -Tool 'powercfg.exe' -Arguments '/change', $timeout, '0' | Out-Null
}

# Microsoft Learn: "Manage additional Windows Update settings", NoAutoUpdate.
Set-RegistryValue -Key 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate\AU' -Name 'NoAutoUpdate' -Value 1
Stop-Service -Name 'wuauserv' -Force
Set-Service -Name 'wuauserv' -StartupType Disabled

# Microsoft Learn: "Get-ScheduledTask"; "defrag": the task optimizes disks once a week.
Get-ScheduledTask -TaskPath '\Microsoft\Windows\Defrag\' | Disable-ScheduledTask | Out-Null

# Nobody looks at it (Microsoft Learn: "Microsoft-Windows-ServerManager-SvrMgrNc", DoNotOpenServerManagerAtLogon).
Set-RegistryValue -Key 'HKLM:\SOFTWARE\Microsoft\ServerManager' -Name 'DoNotOpenServerManagerAtLogon' -Value 1
