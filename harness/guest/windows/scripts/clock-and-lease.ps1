# SPDX-License-Identifier: MIT
# Says what the clock and the network leases are. Sets the clock first if it is further than Tolerance seconds from Expected, in
# .NET's ticks of UTC, and asks for the leases anew if that is wanted.
param(
    [long]$Expected,
    [long]$Tolerance,
    [bool]$Renew
)
$found = [DateTime]::UtcNow.Ticks
$set = $Tolerance -gt 0 -and [Math]::Abs($found - $Expected) -gt $Tolerance * 10000000
if ($set) {
    $time = New-Object DateTime $Expected, ([DateTimeKind]::Utc)
    [void](Set-Date -Date $time.ToLocalTime())
}
$code = 0
$said = ''
if ($Renew) {
    $said = & ipconfig.exe /renew
    $code = $LASTEXITCODE
    $said = "$($said -join ' ')"
    $said = $said.Substring(0, [Math]::Min($said.Length, 1000))
}
$leases = @(Get-CimInstance -ClassName Win32_NetworkAdapterConfiguration -Filter 'IPEnabled = TRUE' | ForEach-Object {
    $expires = if ($_.DHCPLeaseExpires) { $_.DHCPLeaseExpires.ToUniversalTime().Ticks } else { 0 }
    @{ address = "$(@($_.IPAddress)[0])"; dhcp = [bool]$_.DHCPEnabled; expires = [long]$expires }
})
ConvertTo-Json -Compress -Depth 4 -InputObject @{
    found = [long]$found
    now = [long][DateTime]::UtcNow.Ticks
    set = [bool]$set
    code = [int]$code
    said = $said
    leases = $leases
}
