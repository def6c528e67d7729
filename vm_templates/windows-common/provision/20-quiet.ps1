# SPDX-License-Identifier: MIT
# Essential: an update or a sleeping guest spoils a run; the parts that only save time are comfort.
# What the guest would do by itself, and what would be taken for the effect of a hot-add, is turned off.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Microsoft Learn: "Powercfg command-line options".
Invoke-Native -Tool 'powercfg.exe' -Arguments '/change', 'standby-timeout-ac', '0' | Out-Null
# Microsoft Learn: "Manage additional Windows Update settings", NoAutoUpdate.
Set-RegistryValue -Key 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate\AU' -Name 'NoAutoUpdate' -Value 1

Invoke-Comfort -What 'no hibernation' -Action {
    # 1 where the machine cannot hibernate anyway.
    Invoke-Native -Tool 'powercfg.exe' -Arguments '/hibernate', 'off' -Success 0, 1 | Out-Null
}
Invoke-Comfort -What 'monitor and disk stay on' -Action {
    foreach ($timeout in 'monitor-timeout-ac', 'disk-timeout-ac') {
        Invoke-Native -Tool 'powercfg.exe' -Arguments '/change', $timeout, '0' | Out-Null
    }
}
# The policy keeps it from updating, and the guest reaches no server: the service only takes processor time.
Invoke-Comfort -What 'the update service stands still' -Action {
    Stop-Service -Name 'wuauserv' -Force
    Set-Service -Name 'wuauserv' -StartupType Disabled
}
# Microsoft Learn: "Get-ScheduledTask"; "defrag": the task optimizes disks once a week.
Invoke-Comfort -What 'no defragmentation' -Action {
    Get-ScheduledTask -TaskPath '\Microsoft\Windows\Defrag\' | Disable-ScheduledTask | Out-Null
}
# Nobody looks at it (Microsoft Learn: "Microsoft-Windows-ServerManager-SvrMgrNc", DoNotOpenServerManagerAtLogon).
Invoke-Comfort -What 'no Server Manager' -Action {
    Set-RegistryValue -Key 'HKLM:\SOFTWARE\Microsoft\ServerManager' -Name 'DoNotOpenServerManagerAtLogon' -Value 1
}
