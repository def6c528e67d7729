# SPDX-License-Identifier: MIT
# Essential: build and edition identify the template. The other facts are comfort.
# Which Windows this is, and how long it may be used.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Microsoft Learn: "Win32_OperatingSystem class"; the revision is only in the registry.
$system = Get-CimInstance -ClassName 'Win32_OperatingSystem'
$version = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
Write-Fact -Name 'build' -Value "$($system.BuildNumber).$($version.UBR)"
Write-Fact -Name 'edition' -Value $version.EditionID
Write-Fact -Name 'installation' -Value $version.InstallationType

# The driver of the processor container: on Server 2016 it is the wrong one (tp-qemu pull request 2594;
# Microsoft Learn: "Get-PnpDevice").
Invoke-Comfort -What 'which driver has the processors' -Action {
    $container = Get-PnpDevice | Where-Object -FilterScript { $_.InstanceId -like 'ACPI\ACPI0010*' } | Select-Object -First 1
    if ($container) {
        Write-Fact -Name 'processor-container' -Value "$($container.Status): $($container.FriendlyName)"
    }
}

# Microsoft Learn: "SoftwareLicensingProduct class" (the product with a key is the one in use; minutes),
# "SoftwareLicensingService class". A rearm is left to the user: each may be used once.
Invoke-Comfort -What 'how long it may be used' -Action {
    $product = Get-CimInstance -ClassName 'SoftwareLicensingProduct' -Filter 'PartialProductKey IS NOT NULL' |
        Where-Object -FilterScript { $_.Name -like 'Windows*' } | Select-Object -First 1
    if ($product) {
        Write-Fact -Name 'license' -Value "$($product.LicenseStatus)"
        Write-Fact -Name 'grace-minutes' -Value "$($product.GracePeriodRemaining)"
    }
    $licensing = Get-CimInstance -ClassName 'SoftwareLicensingService'
    Write-Fact -Name 'rearms' -Value "$($licensing.RemainingWindowsReArmCount)"
}
