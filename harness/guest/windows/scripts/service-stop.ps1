# SPDX-License-Identifier: MIT
# Stops a driver's service, waits until it stands still, and deletes it if that is asked for.
param(
    [string]$Driver,
    [bool]$Delete
)
function Complete-Step($step, $code, $said) {
    $service = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'"
    $answer = @{ step = $step; code = [int]$code; said = "$($said -join ' ')"; state = "$($service.State)" }
    ConvertTo-Json -Compress -InputObject $answer
}
$said = & sc.exe stop $Driver
if ($LASTEXITCODE -ne 0) { Complete-Step 'stop' $LASTEXITCODE $said; return }
$patience = [Diagnostics.Stopwatch]::StartNew()
do {
    $service = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'"
    if ($service.State -eq 'Stopped') { break }
    Start-Sleep -Milliseconds 200
} while ($patience.Elapsed.TotalSeconds -lt 20)
if ($service.State -ne 'Stopped') { Complete-Step 'stop' 1053 'it did not stop within 20 s'; return }
if (-not $Delete) { Complete-Step 'stop' 0 $said; return }
$said = & sc.exe delete $Driver
Complete-Step 'delete' $LASTEXITCODE $said
