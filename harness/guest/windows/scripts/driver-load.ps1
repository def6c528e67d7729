# SPDX-License-Identifier: MIT
# Installs and starts a driver without Plug and Play; a service of that name that stands still is replaced.
param(
    [string]$Driver,
    [string]$Path,
    [string[]]$Names,
    [string[]]$Values
)
function Complete-Step($step, $code, $said) {
    $service = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'"
    $answer = @{ step = $step; code = [int]$code; said = [string]($said -join ' '); state = [string]$service.State }
    ConvertTo-Json -Compress -InputObject $answer
}
$service = Get-CimInstance -ClassName Win32_SystemDriver -Filter "Name = '$Driver'"
if ($service -and $service.State -ne 'Stopped') { Complete-Step 'create' 1073 'it runs already'; return }
if ($service) {
    $said = & sc.exe delete $Driver
    if ($LASTEXITCODE -ne 0) { Complete-Step 'delete' $LASTEXITCODE $said; return }
}
$said = & sc.exe create $Driver type= kernel start= demand binPath= $Path
if ($LASTEXITCODE -ne 0) { Complete-Step 'create' $LASTEXITCODE $said; return }
$key = "HKLM:\SYSTEM\CurrentControlSet\Services\$Driver\Parameters"
[void](New-Item -Path $key -Force)
for ($at = 0; $at -lt $Names.Count; $at++) {
    [void](New-ItemProperty -Path $key -Name $Names[$at] -PropertyType DWord -Value ([int]$Values[$at]) -Force)
}
$said = & sc.exe start $Driver
$code = $LASTEXITCODE
if ($code -ne 0) { [void](& sc.exe delete $Driver) }
Complete-Step 'start' $code $said
