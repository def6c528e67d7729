# SPDX-License-Identifier: MIT
# Says how this guest is set up, as one line of JSON; harness/template/promise.py judges it. Changes nothing.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Get-Value {
    # Returns one registry value, or nothing if key or value is missing.
    param(
        [Parameter(Mandatory = $true)][string] $Key,
        [Parameter(Mandatory = $true)][string] $Name
    )
    if (Test-Path -LiteralPath $Key) {
        $found = Get-ItemProperty -LiteralPath $Key
        if ($found -and ($found.PSObject.Properties.Name -contains $Name)) {
            $found.$Name
        }
    }
}

$control = 'HKLM:\SYSTEM\CurrentControlSet\Control'
$version = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
$filter = "$control\Session Manager\Debug Print Filter"
$trace = "$control\WMI\Autologger\HotplugHarness"

# Microsoft Learn: "Win32_OperatingSystem class", "Win32_ComputerSystem class", "SoftwareLicensingProduct class".
$system = Get-CimInstance -ClassName 'Win32_OperatingSystem'
$computer = Get-CimInstance -ClassName 'Win32_ComputerSystem'
$license = Get-CimInstance -ClassName 'SoftwareLicensingProduct' -Filter 'PartialProductKey IS NOT NULL' |
    Where-Object -FilterScript { $_.Name -like 'Windows*' } | Select-Object -First 1

# Microsoft Learn: "Enable virtualization-based protection of code integrity", Win32_DeviceGuard.
$guard = Get-CimInstance -Namespace 'root\Microsoft\Windows\DeviceGuard' -ClassName 'Win32_DeviceGuard'

# Microsoft Learn: "about_WSMan_Provider".
$transports = @(Get-ChildItem -Path 'WSMan:\localhost\Listener' | ForEach-Object -Process { ($_.Keys -like 'Transport=*') -replace 'Transport=', '' })

# Microsoft Learn: "about_Certificate_Provider".
$trusted = @()
foreach ($certificate in Get-ChildItem -Path 'Cert:\LocalMachine\TrustedPublisher') {
    $digest = [System.Security.Cryptography.SHA256]::Create().ComputeHash($certificate.RawData)
    $trusted += ([System.BitConverter]::ToString($digest) -replace '-', '').ToLowerInvariant()
}

ConvertTo-Json -Compress -InputObject @{
    build = "$($system.BuildNumber).$(Get-Value -Key $version -Name 'UBR')"
    edition = "$(Get-Value -Key $version -Name 'EditionID')"
    installation = "$(Get-Value -Key $version -Name 'InstallationType')"
    processors = "$($computer.NumberOfLogicalProcessors)"
    license = "$($license.LicenseStatus)"
    grace = "$($license.GracePeriodRemaining)"
    vbs = "$($guard.VirtualizationBasedSecurityStatus)"
    # The options this boot was started with (Windows NT Registry Entry Reference: SystemStartOptions).
    options = "$(Get-Value -Key $control -Name 'SystemStartOptions')"
    mask = "$(Get-Value -Key $filter -Name 'IHVDRIVER')"
    dump = "$(Get-Value -Key "$control\CrashControl" -Name 'CrashDumpEnabled')"
    nmi = "$(Get-Value -Key "$control\CrashControl" -Name 'NMICrashDump')"
    restart = "$(Get-Value -Key "$control\CrashControl" -Name 'AutoReboot')"
    trace = "$(Get-Value -Key $trace -Name 'Start')"
    buffers = "$(Get-Value -Key $trace -Name 'MaximumBuffers')"
    update = "$(Get-Value -Key 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate\AU' -Name 'NoAutoUpdate')"
    logon = "$(Get-Value -Key "$version\Winlogon" -Name 'AutoAdminLogon')"
    stored = "$(if (Get-Value -Key "$version\Winlogon" -Name 'DefaultPassword') { 'kept' } else { 'none' })"
    basic = "$((Get-Item -Path 'WSMan:\localhost\Service\Auth\Basic').Value)".ToLowerInvariant()
    plain = "$((Get-Item -Path 'WSMan:\localhost\Service\AllowUnencrypted').Value)".ToLowerInvariant()
    listeners = ($transports | Sort-Object) -join ' '
    trusted = $trusted -join ' '
}
