# SPDX-License-Identifier: MIT
# Says which Windows answers, since when it runs, and what its clock says (Win32_OperatingSystem).
param(
)
$system = Get-CimInstance -ClassName Win32_OperatingSystem
ConvertTo-Json -Compress -InputObject @{
    caption = [string]$system.Caption
    build = [string]$system.BuildNumber
    started = $system.LastBootUpTime.ToUniversalTime().Ticks
    now = $system.LocalDateTime.ToUniversalTime().Ticks
}
