# SPDX-License-Identifier: MIT
# Essential: event times and certificates are wrong by the zone's offset otherwise.
# The machine's clock and Windows are both in UTC: no time is taken for that of another zone.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# In this zone local time is UTC, without summer time (Microsoft Learn: "Set-TimeZone").
Set-TimeZone -Id 'UTC'

# The clock stays in UTC even if another zone is set later. No reference of Microsoft's has this value. Its blog calls it
# unsupported, because of a hang at the start of summer time, which UTC does not have ("Unresponsive Servers due to DST and an unsupported registry key").
Set-RegistryValue -Key 'HKLM:\SYSTEM\CurrentControlSet\Control\TimeZoneInformation' -Name 'RealTimeIsUniversal' -Value 1
