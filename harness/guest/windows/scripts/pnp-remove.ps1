# SPDX-License-Identifier: MIT
# Removes a driver package from the driver store and from the devices that use it.
param(
    [string]$Inf,
    [string]$Service
)
$said = ''
$code = 2
foreach ($package in @(Get-WindowsDriver -Online | Where-Object { (Split-Path -Leaf $_.OriginalFileName) -eq $Inf })) {
    $said = & pnputil.exe /delete-driver $package.Driver /uninstall /force
    $code = $LASTEXITCODE
}
$devices = @(Get-CimInstance -ClassName Win32_PnPEntity -Filter "Service = '$Service'" | ForEach-Object {
    @{ device = [string]$_.DeviceID; problem = [int]$_.ConfigManagerErrorCode }
})
ConvertTo-Json -Compress -Depth 4 -InputObject @{ code = [int]$code; said = [string]($said -join ' '); devices = $devices }
