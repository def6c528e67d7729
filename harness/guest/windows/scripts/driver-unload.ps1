# SPDX-License-Identifier: MIT
# Ends a driver's Plug and Play registrations, stops its service, waits until it stands still, and deletes it.
param(
    [string]$Driver,
    [string]$Tool
)
function Complete-Step($step, $code, $said) {
    $service = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'"
    $answer = @{ step = $step; code = [int]$code; said = [string]($said -join ' '); state = [string]$service.State }
    ConvertTo-Json -Compress -InputObject $answer
}
$said = & $Tool --device $Driver detach
if ($LASTEXITCODE -ne 0) { Complete-Step 'detach' $LASTEXITCODE $said; return }
$said = & sc.exe stop $Driver
if ($LASTEXITCODE -ne 0) { Complete-Step 'stop' $LASTEXITCODE $said; return }
$patience = [Diagnostics.Stopwatch]::StartNew()
do {
    $service = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'"
    if ($service.State -eq 'Stopped') { break }
    Start-Sleep -Milliseconds 200
} while ($patience.Elapsed.TotalSeconds -lt 20)
if ($service.State -ne 'Stopped') { Complete-Step 'stop' 1053 'it did not stop within 20 s'; return }
$said = & sc.exe delete $Driver
Complete-Step 'delete' $LASTEXITCODE $said
