# SPDX-License-Identifier: MIT
# Comfort: with an antivirus a run is slower and has more on its timeline, and is as true.
# The antivirus scans what the driver writes and takes processors; a server can do without, a client only in part.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

if (Get-Command -Name 'Uninstall-WindowsFeature' -ErrorAction SilentlyContinue) {
    # In effect after the restart (Microsoft Learn: "Microsoft Defender Antivirus on Windows Server", uninstall).
    $feature = Get-WindowsFeature -Name 'Windows-Defender'
    if ($feature -and $feature.Installed) {
        Uninstall-WindowsFeature -Name 'Windows-Defender' | Out-Null
    }
    # What is left, not what was asked for (Microsoft Learn: "Get-WindowsFeature", InstallState: UninstallPending until then).
    $left = Get-WindowsFeature -Name 'Windows-Defender'
    $gone = -not $left -or @('Available', 'Removed', 'UninstallPending') -contains "$($left.InstallState)"
    Write-Fact -Name 'defender' -Value $(if ($gone) { 'removed' } else { 'installed' })
}
else {
    # Ignored without a word where tamper protection is on (Microsoft Learn: "Protect security settings with tamper
    # protection"); so what came of it is told, not what was asked for.
    Set-MpPreference -DisableRealtimeMonitoring $true
    $active = (Get-MpComputerStatus).RealTimeProtectionEnabled
    Write-Fact -Name 'defender' -Value $(if ($active) { 'real-time' } else { 'quiet' })
}
