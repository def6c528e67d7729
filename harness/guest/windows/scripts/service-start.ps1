# SPDX-License-Identifier: MIT
# Starts the service of a driver that this Windows has.
param(
    [string]$Driver
)
function Complete-Step($step, $code, $said) {
    $service = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'"
    $answer = @{ step = $step; code = [int]$code; said = "$($said -join ' ')"; state = "$($service.State)" }
    ConvertTo-Json -Compress -InputObject $answer
}
$service = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'"
if (-not $service) { Complete-Step 'find' 1060 'there is no such service'; return }
if ($service.State -ne 'Stopped') { Complete-Step 'find' 1056 'it runs already'; return }
$said = & sc.exe start $Driver
Complete-Step 'start' $LASTEXITCODE $said
