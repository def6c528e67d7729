# SPDX-License-Identifier: MIT
# Comfort: with an antivirus a run is slower and has more on its timeline, but is equally valid.
# The antivirus scans the driver's files and uses processors. A server can remove it, a client can only limit it.
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
    # The result, not the request (Microsoft Learn: "Get-WindowsFeature", InstallState: UninstallPending until then).
    $left = Get-WindowsFeature -Name 'Windows-Defender'
    $gone = -not $left -or @('Available', 'Removed', 'UninstallPending') -contains "$($left.InstallState)"
    Write-Fact -Name 'defender' -Value $(if ($gone) { 'removed' } else { 'installed' })
}
else {
    # Silently ignored if tamper protection is on (Microsoft Learn: "Protect security settings with tamper
    # protection"). So the result is reported, not the request.
    Set-MpPreference -DisableRealtimeMonitoring $true
    $active = (Get-MpComputerStatus).RealTimeProtectionEnabled
    Write-Fact -Name 'defender' -Value $(if ($active) { 'real-time' } else { 'quiet' })
}
