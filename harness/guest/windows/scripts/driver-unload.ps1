# SPDX-License-Identifier: MIT
# Ends a driver's Plug and Play registrations, stops its service, waits until it has stopped, and deletes it.
param(
    [string]$Driver,
    [string]$Tool
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
$done = Invoke-Native $Tool @('--device', $Driver, 'detach')
if ($done.code) { Complete-Step 'detach' $done; return }
$done = Invoke-Native 'sc.exe' @('stop', $Driver)
if ($done.code) { Complete-Step 'stop' $done; return }
$patience = [Diagnostics.Stopwatch]::StartNew()
do {
    $service = Get-Driver
    if ($service.State -eq 'Stopped') { break }
    Start-Sleep -Milliseconds 200
} while ($patience.Elapsed.TotalSeconds -lt 20)
if ($service.State -ne 'Stopped') { Complete-Step 'stop' @{ code = 1053; said = 'it did not stop within 20 s' }; return }
$done = Invoke-Native 'sc.exe' @('delete', $Driver)
Complete-Step 'delete' $done
