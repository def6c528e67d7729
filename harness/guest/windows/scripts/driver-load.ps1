# SPDX-License-Identifier: MIT
# Installs and starts a driver without Plug and Play; a stopped service of that name is replaced.
param(
    [string]$Driver,
    [string]$Path,
    [string[]]$Names,
    [string[]]$Values
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
if ($service -and $service.State -ne 'Stopped') { Complete-Step 'create' @{ code = 1073; said = 'it runs already' }; return }
if ($service) {
    $done = Invoke-Native 'sc.exe' @('delete', $Driver)
    if ($done.code) { Complete-Step 'delete' $done; return }
}
$done = Invoke-Native 'sc.exe' @('create', $Driver, 'type=', 'kernel', 'start=', 'demand', 'binPath=', $Path)
if ($done.code) { Complete-Step 'create' $done; return }
$key = "HKLM:\SYSTEM\CurrentControlSet\Services\$Driver\Parameters"
[void](New-Item -Path $key -Force)
for ($at = 0; $at -lt $Names.Count; $at++) {
    [void](New-ItemProperty -Path $key -Name $Names[$at] -PropertyType DWord -Value ([int]$Values[$at]) -Force)
}
$done = Invoke-Native 'sc.exe' @('start', $Driver)
if ($done.code) { [void](Invoke-Native 'sc.exe' @('delete', $Driver)) }
Complete-Step 'start' $done
