# SPDX-License-Identifier: MIT
# Essential: without it no logon works after 42 days, and the password stays on the disk.
# The account with which the host logs on: its password does not expire after a server's default of 42 days.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# By its number, since its name depends on the language (Microsoft Learn: "Well-known SIDs", S-1-5-21-...-500;
# "Set-LocalUser (Microsoft.PowerShell.LocalAccounts)").
$administrator = Get-LocalUser | Where-Object -FilterScript { $_.SID.Value -match '-500$' }
Set-LocalUser -SID $administrator.SID -PasswordNeverExpires $true
# The same name in all languages, for the host's logon (Microsoft Learn: "Rename-LocalUser").
if ($administrator.Name -ne 'Administrator') {
    Rename-LocalUser -SID $administrator.SID -NewName 'Administrator'
}
Write-Fact -Name 'administrator' -Value 'Administrator'

# The logon that ran this is the last without a password (Microsoft Learn: "Configure Windows to automate logon").
$winlogon = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon'
Set-RegistryValue -Key $winlogon -Name 'AutoAdminLogon' -Value '0' -Kind 'String'
foreach ($name in 'DefaultPassword', 'AutoLogonCount') {
    Remove-ItemProperty -LiteralPath $winlogon -Name $name -ErrorAction SilentlyContinue
}
# Setup's own copy of the answers (Microsoft Learn: "Windows Setup Automation Overview": cached answer file).
$answers = Join-Path -Path $env:SystemRoot -ChildPath 'Panther\unattend.xml'
if (Test-Path -LiteralPath $answers) {
    Remove-Item -LiteralPath $answers -Force
}
