# SPDX-License-Identifier: MIT
# Installs a driver package on every device that it fits, and returns the state of its service's devices and
# their DEVPKEY_Device_DHP_Rebalance_Policy, 0 if it is not set.
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
$done = Invoke-Native 'pnputil.exe' @('/add-driver', $Inf, '/install')
$devices = @(Get-CimInstance -ClassName Win32_PnPEntity -Filter "Service = '$Service'" | ForEach-Object {
    $key = '{540b947e-8b40-45bc-a8a2-6a0b894cbda2} 2'
    $policy = Get-PnpDeviceProperty -InstanceId $_.DeviceID -KeyName $key -ErrorAction SilentlyContinue
    @{ device = [string]$_.DeviceID; problem = [int]$_.ConfigManagerErrorCode; policy = [int]$policy.Data }
})
ConvertTo-Json -Compress -Depth 4 -InputObject @{ code = $done.code; said = $done.said; devices = $devices }
