# SPDX-License-Identifier: MIT
# Essential: a public network is closed to WinRM.
# The network is private, now and at each boot: a network without a router is unidentified, and Windows treats it as public.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# A public network is closed to WinRM (Microsoft Learn: "Installation and configuration for Windows Remote Management";
# "Set-NetConnectionProfile"). It fails while Windows is still identifying the network.
$deadline = (Get-Date).AddMinutes(3)
$private = $false
while (-not $private) {
    try {
        Get-NetConnectionProfile | Set-NetConnectionProfile -NetworkCategory Private -ErrorAction Stop
        $private = $true
    }
    catch {
        if ((Get-Date) -gt $deadline) {
            throw
        }
        Start-Sleep -Seconds 5
    }
}

# Windows identifies the network again at each boot and on each new machine. Unidentified networks are private by policy (Microsoft Learn:
# "Network List Manager Policies", unidentified networks, location type). The key is that of the policy's editor, and is on
# no page of Microsoft's; Category 1 is private (Microsoft Learn: "NLM_NETWORK_CATEGORY enumeration").
$policy = 'HKLM:\SOFTWARE\Policies\Microsoft\Windows NT\CurrentVersion\NetworkList\Signatures'
$unidentified = '010103000F0000F0010000000F0000F0C967A3643C3AD745950DA7859209176EF5B87C875FA20DF21951640E807D7C24'
Set-RegistryValue -Key "$policy\$unidentified" -Name 'Category' -Value 1
