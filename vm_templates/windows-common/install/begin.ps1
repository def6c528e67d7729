# SPDX-License-Identifier: MIT
# Starts the launcher on the answer medium in an adopted Windows, like the answer file in an installed one.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# By default a client runs no scripts (Microsoft Learn: "Set-ExecutionPolicy").
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
