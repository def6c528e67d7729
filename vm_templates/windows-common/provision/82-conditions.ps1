# SPDX-License-Identifier: MIT
# Comfort: each run asks again. Facts that are not reported are unknown.
# The facts that decide whether this Windows accepts hardware while it runs, and how it is reached.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# The drivers of the devices of added hardware: containers and processors, memory (Microsoft Learn: "Win32_PnPEntity
# class"; "System-Defined Device Setup Classes": {50127dc3-...} is Processor, whatever the device's name).
$devices = @(Get-CimInstance -ClassName 'Win32_PnPEntity' -Filter "DeviceID LIKE 'ACPI%'")
Write-Fact -Name 'devices-acpi0010' -Value (Get-Binding -Device @($devices | Where-Object -FilterScript { $_.DeviceID -like 'ACPI\ACPI0010*' }))
Write-Fact -Name 'devices-acpi0007' -Value (Get-Binding -Device @($devices | Where-Object -FilterScript { $_.DeviceID -like 'ACPI\ACPI0007*' -or "$($_.ClassGuid)" -eq '{50127dc3-0f36-415e-a6cc-4cb3be910b65}' }))
Write-Fact -Name 'devices-pnp0c80' -Value (Get-Binding -Device @($devices | Where-Object -FilterScript { $_.DeviceID -like 'ACPI\PNP0C80*' }))

# Whether this boot accepts processors while it runs: bit 5, called DbgDynProcessorEnabled in ntddk.h.
$flag = Get-SharedFlag
if ($null -ne $flag) {
    Write-Fact -Name 'dynamic-processors' -Value $(if ($flag -band 0x20) { 'yes' } else { 'no' })
}

# Microsoft Learn: "Get-NetConnectionProfile"; "Win32_NetworkAdapterConfiguration class", DHCP's answer.
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
