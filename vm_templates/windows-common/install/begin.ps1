# SPDX-License-Identifier: MIT
# Starts the launcher on the answer medium in a Windows that is adopted, as the answer file does in one that is installed.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# A client runs no script otherwise (Microsoft Learn: "Set-ExecutionPolicy").
Set-ExecutionPolicy -ExecutionPolicy Bypass -Scope Process -Force
$launcher = $null
foreach ($letter in 'D', 'E', 'F', 'G', 'H', 'I') {
    if (-not $launcher -and (Test-Path -LiteralPath "${letter}:\install\launch.ps1")) {
        $launcher = "${letter}:\install\launch.ps1"
    }
}
if (-not $launcher) {
    throw 'no drive from D to I holds install\launch.ps1'
}
& $launcher -Install
