# SPDX-License-Identifier: MIT
# Essential: an update or a sleeping guest spoils a run; the parts that only save time are comfort.
# Turns off activities of the guest that would be taken for effects of a hot-add.
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
    # Ends with 1 if the machine cannot hibernate anyway.
    Invoke-Native -Tool 'powercfg.exe' -Arguments '/hibernate', 'off' -Success 0, 1 | Out-Null
}
Invoke-Comfort -What 'monitor and disk stay on' -Action {
    foreach ($timeout in 'monitor-timeout-ac', 'disk-timeout-ac') {
        Invoke-Native -Tool 'powercfg.exe' -Arguments '/change', $timeout, '0' | Out-Null
    }
}
# The policy prevents updates, and the guest reaches no server: the service only uses processor time.
Invoke-Comfort -What 'the update service stands still' -Action {
    Stop-Service -Name 'wuauserv' -Force
    Set-Service -Name 'wuauserv' -StartupType Disabled
}
# Microsoft Learn: "Get-ScheduledTask"; "defrag": the task optimizes disks once a week.
Invoke-Comfort -What 'no defragmentation' -Action {
    Get-ScheduledTask -TaskPath '\Microsoft\Windows\Defrag\' | Disable-ScheduledTask | Out-Null
}
# Its window is not used (Microsoft Learn: "Microsoft-Windows-ServerManager-SvrMgrNc", DoNotOpenServerManagerAtLogon).
Invoke-Comfort -What 'no Server Manager' -Action {
    Set-RegistryValue -Key 'HKLM:\SOFTWARE\Microsoft\ServerManager' -Name 'DoNotOpenServerManagerAtLogon' -Value 1
}
