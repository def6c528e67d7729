# SPDX-License-Identifier: MIT
# Stops a driver's service, waits until it has stopped, and deletes it on request.
param(
    [string]$Driver,
    [bool]$Delete
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
$done = Invoke-Native 'sc.exe' @('stop', $Driver)
if ($done.code) { Complete-Step 'stop' $done; return }
$patience = [Diagnostics.Stopwatch]::StartNew()
do {
    $service = Get-Driver
    if ($service.State -eq 'Stopped') { break }
    Start-Sleep -Milliseconds 200
} while ($patience.Elapsed.TotalSeconds -lt 20)
if ($service.State -ne 'Stopped') { Complete-Step 'stop' @{ code = 1053; said = 'it did not stop within 20 s' }; return }
if (-not $Delete) { Complete-Step 'stop' $done; return }
Complete-Step 'delete' (Invoke-Native 'sc.exe' @('delete', $Driver))
