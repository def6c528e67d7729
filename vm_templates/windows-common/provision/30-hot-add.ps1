# SPDX-License-Identifier: MIT
# Essential: with its own hypervisor Windows accepts no added processor.
# Turns off what keeps Windows from accepting processors and memory while it runs: its own hypervisor, and VBS on it.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Microsoft Learn: "BCDEdit /set", hypervisorlaunchtype.
Invoke-Native -Tool 'bcdedit.exe' -Arguments '/set', 'hypervisorlaunchtype', 'off' | Out-Null

# Microsoft Learn: "Enable virtualization-based protection of code integrity", registry keys.
$guard = 'HKLM:\SYSTEM\CurrentControlSet\Control\DeviceGuard'
Set-RegistryValue -Key $guard -Name 'EnableVirtualizationBasedSecurity' -Value 0
Set-RegistryValue -Key "$guard\Scenarios\HypervisorEnforcedCodeIntegrity" -Name 'Enabled' -Value 0
# Microsoft Learn: "Configure Credential Guard", disable, both keys: newer Windows turns it on by itself.
Set-RegistryValue -Key 'HKLM:\SYSTEM\CurrentControlSet\Control\Lsa' -Name 'LsaCfgFlags' -Value 0
Set-RegistryValue -Key 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\DeviceGuard' -Name 'LsaCfgFlags' -Value 0

# Groups of fewer than 64 processors, so that a few processors need a second group (Microsoft Learn: "BCDEdit /set", groupsize).
if ($Settings.group_size -gt 0) {
    Invoke-Native -Tool 'bcdedit.exe' -Arguments '/set', 'groupsize', $Settings.group_size | Out-Null
}
