# SPDX-License-Identifier: MIT
# Removes a driver package from the driver store and from the devices that use it.
param(
    [string]$Inf,
    [string]$Service
)
function Invoke-Native($tool, $words) {
    $ErrorActionPreference = 'Continue'
    try { $all = @(& $tool @words 2>&1); $code = $LASTEXITCODE } catch { $all = @($_); $code = -1 }
    $wrong, $lines = $all.Where({ $_ -is [Management.Automation.ErrorRecord] }, 'Split')
    $said = "$wrong $lines".Trim()
    @{ code = [int]$code; lines = @($lines); said = $said.Substring(0, [Math]::Min($said.Length, 1000)) }
}
$done = @{ code = 2; said = '' }
foreach ($package in @(Get-WindowsDriver -Online | Where-Object { (Split-Path -Leaf $_.OriginalFileName) -eq $Inf })) {
    $done = Invoke-Native 'pnputil.exe' @('/delete-driver', $package.Driver, '/uninstall', '/force')
}
$devices = @(Get-CimInstance -ClassName Win32_PnPEntity -Filter "Service = '$Service'" | ForEach-Object {
    @{ device = [string]$_.DeviceID; problem = [int]$_.ConfigManagerErrorCode }
})
ConvertTo-Json -Compress -Depth 4 -InputObject @{ code = $done.code; said = $done.said; devices = $devices }
