# SPDX-License-Identifier: MIT
# Returns which Windows answers, its boot time and its clock (Win32_OperatingSystem).
param(
)
$system = Get-CimInstance -ClassName Win32_OperatingSystem
ConvertTo-Json -Compress -InputObject @{
    caption = [string]$system.Caption
    build = [string]$system.BuildNumber
    started = $system.LastBootUpTime.ToUniversalTime().Ticks
    now = $system.LocalDateTime.ToUniversalTime().Ticks
}
