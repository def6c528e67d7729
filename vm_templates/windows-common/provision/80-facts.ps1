# SPDX-License-Identifier: MIT
# What this Windows is, and how long it may be used.
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

# Which driver has the container of the processors: on Server 2016 it is the wrong one (tp-qemu pull request 2594;
# Microsoft Learn: "Get-PnpDevice").
$container = Get-PnpDevice | Where-Object -FilterScript { $_.InstanceId -like 'ACPI\ACPI0010*' } | Select-Object -First 1
if ($container) {
    Write-Fact -Name 'processor-container' -Value "$($container.Status): $($container.FriendlyName)"
}

# Which driver has the devices of added hardware: containers and processors, memory (Microsoft Learn: "Win32_PnPEntity
# class"; "System-Defined Device Setup Classes": {50127dc3-...} is Processor, whatever the device is called).
$devices = @(Get-CimInstance -ClassName 'Win32_PnPEntity' -Filter "DeviceID LIKE 'ACPI%'")
Write-Fact -Name 'devices-acpi0010' -Value (Get-Binding -Device @($devices | Where-Object -FilterScript { $_.DeviceID -like 'ACPI\ACPI0010*' }))
Write-Fact -Name 'devices-acpi0007' -Value (Get-Binding -Device @($devices | Where-Object -FilterScript { $_.DeviceID -like 'ACPI\ACPI0007*' -or "$($_.ClassGuid)" -eq '{50127dc3-0f36-415e-a6cc-4cb3be910b65}' }))
Write-Fact -Name 'devices-pnp0c80' -Value (Get-Binding -Device @($devices | Where-Object -FilterScript { $_.DeviceID -like 'ACPI\PNP0C80*' }))

# Whether this boot takes processors while it runs: bit 5, DbgDynProcessorEnabled, in the words of ntddk.h.
$flag = Get-SharedFlag
if ($null -ne $flag) {
    Write-Fact -Name 'dynamic-processors' -Value $(if ($flag -band 0x20) { 'yes' } else { 'no' })
}

# Microsoft Learn: "Get-NetConnectionProfile"; "Win32_NetworkAdapterConfiguration class", what DHCP answered.
$categories = @(Get-NetConnectionProfile | ForEach-Object -Process { "$($_.NetworkCategory)" } | Sort-Object -Unique)
Write-Fact -Name 'network-category' -Value "$(if ($categories.Count -gt 0) { $categories -join ' ' } else { 'none' })"
foreach ($adapter in @(Get-CimInstance -ClassName 'Win32_NetworkAdapterConfiguration' -Filter 'IPEnabled = TRUE' | Select-Object -First 1)) {
    Write-Fact -Name 'dhcp' -Value "server $($adapter.DHCPServer) address $(@($adapter.IPAddress) -join ' ') gateway $(@($adapter.DefaultIPGateway) -join ' ') dns $(@($adapter.DNSServerSearchOrder) -join ' ')"
}

# OpenBSD manual, sshd: -t checks configuration and keys.
$sshd = Get-CimInstance -ClassName 'Win32_Service' -Filter "Name = 'sshd'"
if ($sshd -and "$($sshd.PathName)" -match '^"?([^"]+\.exe)') {
    try {
        $said = Invoke-Native -Tool $Matches[1] -Arguments '-t'
        Write-Fact -Name 'sshd-test' -Value "ok $said"
    }
    catch {
        Write-Fact -Name 'sshd-test' -Value "failed $($_.Exception.Message)"
    }
}

# Microsoft Learn: "SoftwareLicensingProduct class" (the product that has a key is the one in use; minutes),
# "SoftwareLicensingService class". A rearm is left to people: each may be used once.
$product = Get-CimInstance -ClassName 'SoftwareLicensingProduct' -Filter 'PartialProductKey IS NOT NULL' |
    Where-Object -FilterScript { $_.Name -like 'Windows*' } | Select-Object -First 1
if ($product) {
    Write-Fact -Name 'license' -Value "$($product.LicenseStatus)"
    Write-Fact -Name 'grace-minutes' -Value "$($product.GracePeriodRemaining)"
}
$licensing = Get-CimInstance -ClassName 'SoftwareLicensingService'
Write-Fact -Name 'rearms' -Value "$($licensing.RemainingWindowsReArmCount)"
