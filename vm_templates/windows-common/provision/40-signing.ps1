# SPDX-License-Identifier: MIT
# Essential: the driver under test does not load otherwise.
# Drivers signed with the harness's test certificate load, and Windows trusts their signer.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Refused where Secure Boot is on (Microsoft Learn: "Loading Test Signed Code"; "Enable Loading of Test Signed Drivers").
Invoke-Native -Tool 'bcdedit.exe' -Arguments '/set', 'testsigning', 'on' | Out-Null

# Microsoft Learn: "Installing Test Certificates": both stores, of the machine; "Import-Certificate".
$certificate = Join-Path -Path $PSScriptRoot -ChildPath 'test.cer'
if (Test-Path -LiteralPath $certificate) {
    foreach ($store in 'Root', 'TrustedPublisher') {
        Import-Certificate -FilePath $certificate -CertStoreLocation "Cert:\LocalMachine\$store" | Out-Null
    }
    Write-Fact -Name 'test-certificate' -Value 'trusted'
}
