# SPDX-License-Identifier: MIT
# Installs a driver package on every device that it fits, and says of the devices of its service how they are.
param(
    [string]$Inf,
    [string]$Service
)
$said = & pnputil.exe /add-driver $Inf /install
$code = $LASTEXITCODE
$devices = @(Get-CimInstance -ClassName Win32_PnPEntity -Filter "Service = '$Service'" | ForEach-Object {
    @{ device = [string]$_.DeviceID; problem = [int]$_.ConfigManagerErrorCode }
})
ConvertTo-Json -Compress -Depth 4 -InputObject @{ code = [int]$code; said = [string]($said -join ' '); devices = $devices }
