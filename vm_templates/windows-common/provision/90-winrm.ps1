# SPDX-License-Identifier: MIT
# Essential: runs connect through it.
# WinRM over HTTPS, as the last step: once a logon works, all other steps are done.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# The host pins this certificate by its SHA-256, whatever its name (Microsoft Learn: "New-SelfSignedCertificate").
$certificate = New-SelfSignedCertificate -DnsName $env:COMPUTERNAME -CertStoreLocation 'Cert:\LocalMachine\My' -NotAfter (Get-Date).AddYears(10)

Set-ServiceStart -Name 'WinRM'
Start-Service -Name 'WinRM'
# Servers listen on HTTP from the start. Only HTTPS is left (Microsoft Learn: "about_WSMan_Provider").
Get-ChildItem -Path 'WSMan:\localhost\Listener' | Remove-Item -Recurse -Force
New-Item -Path 'WSMan:\localhost\Listener' -Transport HTTPS -Address '*' -CertificateThumbPrint $certificate.Thumbprint -Force | Out-Null
Set-Item -Path 'WSMan:\localhost\Service\Auth\Basic' -Value $false -Force
Set-Item -Path 'WSMan:\localhost\Service\AllowUnencrypted' -Value $false -Force
# Without Force some of these ask for confirmation. Half an hour for a command, 1 GiB for a shell.
Set-Item -Path 'WSMan:\localhost\MaxTimeoutms' -Value 1800000 -Force
Set-Item -Path 'WSMan:\localhost\Shell\MaxMemoryPerShellMB' -Value 1024 -Force
# Fails if a rule of that name exists (Microsoft Learn: "New-NetFirewallRule").
if (-not (Get-NetFirewallRule | Where-Object -FilterScript { $_.Name -eq 'HotplugHarness-WinRM' })) {
    New-NetFirewallRule -Name 'HotplugHarness-WinRM' -DisplayName 'Hotplug Harness: WinRM over HTTPS' -Direction Inbound -Protocol TCP -LocalPort 5986 -Action Allow -Profile Any | Out-Null
}
Restart-Service -Name 'WinRM'
$listeners = @(Get-ChildItem -Path 'WSMan:\localhost\Listener' | ForEach-Object -Process { ($_.Keys -like 'Transport=*') -replace 'Transport=', '' })
Write-Fact -Name 'winrm-listeners' -Value "$($listeners.Count) $(($listeners | Sort-Object) -join ' ')"

$digest = [System.Security.Cryptography.SHA256]::Create().ComputeHash($certificate.RawData)
Write-Fact -Name 'certificate' -Value ([System.BitConverter]::ToString($digest) -replace '-', '').ToLowerInvariant()
