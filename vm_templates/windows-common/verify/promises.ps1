# SPDX-License-Identifier: MIT
# Prints how this guest is set up, as one line of JSON. harness/template/promise.py judges it. Changes nothing.
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

function Get-ServiceStart {
    # Returns how a service starts, whether after the others, and its state; nothing if there is none.
    # Microsoft Learn: "Win32_Service class".
    param(
        [Parameter(Mandatory = $true)][string] $Name
    )
    $service = Get-CimInstance -ClassName 'Win32_Service' -Filter "Name = '$Name'"
    if ($service) {
        "$($service.StartMode) $($service.DelayedAutoStart) $($service.State)"
    }
}

function Get-ServiceFailure {
    # Returns the actions after a service's failure, in hexadecimal ([MS-SCMR] 2.2.37, the format of the service's key).
    param(
        [Parameter(Mandatory = $true)][string] $Name
    )
    $actions = Get-Value -Key "HKLM:\SYSTEM\CurrentControlSet\Services\$Name" -Name 'FailureActions'
    if ($actions) {
        [System.BitConverter]::ToString([byte[]] $actions) -replace '-', ''
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

# Microsoft Learn: "Enable virtualization-based protection of code integrity", Win32_DeviceGuard. A Windows without it
# lacks the namespace, which is an error.
$guard = $null
try {
    $guard = Get-CimInstance -Namespace 'root\Microsoft\Windows\DeviceGuard' -ClassName 'Win32_DeviceGuard'
}
catch {
    $guard = $null
}

# Microsoft Learn: "about_WSMan_Provider".
$transports = @(Get-ChildItem -Path 'WSMan:\localhost\Listener' | ForEach-Object -Process { ($_.Keys -like 'Transport=*') -replace 'Transport=', '' })

# Microsoft Learn: "Get-NetConnectionProfile". The policy's key is in 65-network.ps1.
$categories = @(Get-NetConnectionProfile | ForEach-Object -Process { "$($_.NetworkCategory)" } | Sort-Object -Unique)
$policy = 'HKLM:\SOFTWARE\Policies\Microsoft\Windows NT\CurrentVersion\NetworkList\Signatures'
$unidentified = "$policy\010103000F0000F0010000000F0000F0C967A3643C3AD745950DA7859209176EF5B87C875FA20DF21951640E807D7C24"

# Microsoft Learn: "about_Certificate_Provider"; "Get-TimeZone".
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
    license = "$(if ($license) { $license.LicenseStatus })"
    grace = "$(if ($license) { $license.GracePeriodRemaining })"
    vbs = "$(if ($guard) { $guard.VirtualizationBasedSecurityStatus })"
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
    category = $categories -join ' '
    unidentified = "$(Get-Value -Key $unidentified -Name 'Category')"
    winrm = "$(Get-ServiceStart -Name 'WinRM')"
    winrmfailure = "$(Get-ServiceFailure -Name 'WinRM')"
    sshd = "$(Get-ServiceStart -Name 'sshd')"
    sshdfailure = "$(Get-ServiceFailure -Name 'sshd')"
    zone = "$((Get-TimeZone).Id)"
    universal = "$(Get-Value -Key "$control\TimeZoneInformation" -Name 'RealTimeIsUniversal')"
}
