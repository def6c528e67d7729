# SPDX-License-Identifier: MIT
# Says which Windows answers, and since when it runs (Win32_OperatingSystem).
param(
)
$system = Get-CimInstance -ClassName Win32_OperatingSystem
ConvertTo-Json -Compress -InputObject @{
    caption = [string]$system.Caption
    build = [string]$system.BuildNumber
    started = $system.LastBootUpTime.ToUniversalTime().Ticks
}
