# SPDX-License-Identifier: MIT
# Starts the service of a driver that this Windows has.
param(
    [string]$Driver
)
function Invoke-Native($tool, $words) {
    $ErrorActionPreference = 'Continue'
    try { $all = @(& $tool @words 2>&1); $code = $LASTEXITCODE } catch { $all = @($_); $code = -1 }
    $wrong, $lines = $all.Where({ $_ -is [Management.Automation.ErrorRecord] }, 'Split')
    $said = "$wrong $lines".Trim()
    @{ code = [int]$code; lines = @($lines); said = $said.Substring(0, [Math]::Min($said.Length, 1000)) }
}
function Get-Driver { Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'" }
function Complete-Step($step, $done) {
    $service = Get-Driver
    $state = [string]$service.State
    ConvertTo-Json -Compress -InputObject @{ step = $step; code = $done.code; said = $done.said; state = $state }
}
$service = Get-Driver
if (-not $service) { Complete-Step 'find' @{ code = 1060; said = 'there is no such service' }; return }
if ($service.State -ne 'Stopped') { Complete-Step 'find' @{ code = 1056; said = 'it runs already' }; return }
Complete-Step 'start' (Invoke-Native 'sc.exe' @('start', $Driver))
