# SPDX-License-Identifier: MIT
# Returns the clock and the network leases. Sets the clock first if it is further than Tolerance seconds from Expected, in
# .NET's ticks of UTC, and renews the leases on request.
param(
    [long]$Expected,
    [long]$Tolerance,
    [bool]$Renew
)
function Invoke-Native($tool, $words) {
    $ErrorActionPreference = 'Continue'
    try { $all = @(& $tool @words 2>&1); $code = $LASTEXITCODE } catch { $all = @($_); $code = -1 }
    $wrong, $lines = $all.Where({ $_ -is [Management.Automation.ErrorRecord] }, 'Split')
    $said = "$wrong $lines".Trim()
    @{ code = [int]$code; lines = @($lines); said = $said.Substring(0, [Math]::Min($said.Length, 1000)) }
}
$found = [DateTime]::UtcNow.Ticks
$set = $Tolerance -gt 0 -and [Math]::Abs($found - $Expected) -gt $Tolerance * 10000000
if ($set) {
    $time = New-Object DateTime $Expected, ([DateTimeKind]::Utc)
    [void](Set-Date -Date $time.ToLocalTime())
}
$done = @{ code = 0; said = '' }
if ($Renew) { $done = Invoke-Native 'ipconfig.exe' @('/renew') }
$leases = @(Get-CimInstance -ClassName Win32_NetworkAdapterConfiguration -Filter 'IPEnabled = TRUE' | ForEach-Object {
    $expires = if ($_.DHCPLeaseExpires) { $_.DHCPLeaseExpires.ToUniversalTime().Ticks } else { 0 }
    @{ address = "$(@($_.IPAddress)[0])"; dhcp = [bool]$_.DHCPEnabled; expires = [long]$expires }
})
ConvertTo-Json -Compress -Depth 4 -InputObject @{
    found = [long]$found
    now = [long][DateTime]::UtcNow.Ticks
    set = [bool]$set
    code = $done.code
    said = $done.said
    leases = $leases
}
