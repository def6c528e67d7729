# SPDX-License-Identifier: MIT
# Returns the state of a driver's service: State of Win32_SystemDriver, "" if there is no such service.
param(
    [string]$Driver
)
$service = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'"
ConvertTo-Json -Compress -InputObject @{ state = [string]$service.State; path = [string]$service.PathName }
