# SPDX-License-Identifier: MIT
# Essential: event times and certificates are wrong by the zone's offset otherwise.
# The machine's clock is in UTC, and so is Windows: no time is ever taken for another zone's.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# In this zone local time is UTC, and there is no summer time (Microsoft Learn: "Set-TimeZone").
Set-TimeZone -Id 'UTC'

# The clock stays in UTC whatever zone is set later. No reference of Microsoft's has this value; its blog calls it unsupported, for
# a hang when summer time begins, which it does not in UTC ("Unresponsive Servers due to DST and an unsupported registry key").
Set-RegistryValue -Key 'HKLM:\SYSTEM\CurrentControlSet\Control\TimeZoneInformation' -Name 'RealTimeIsUniversal' -Value 1
