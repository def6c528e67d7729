# SPDX-License-Identifier: MIT
# Gathers the facts that decide whether this Windows accepts added hardware while it runs. It judges nothing.
param(
)
function Get-Value($key, $name) {
    $item = Get-ItemProperty -LiteralPath "HKLM:\$key" -ErrorAction SilentlyContinue
    if ($item) { $item.$name }
}
function Get-Devices($pattern) {
    @(Get-CimInstance -ClassName Win32_PnPEntity -Filter "DeviceID LIKE '$pattern'" | ForEach-Object {
        @{ device = [string]$_.DeviceID; name = [string]$_.Name; service = [string]$_.Service; problem = [int]$_.ConfigManagerErrorCode }
    })
}
$system = Get-CimInstance -ClassName Win32_OperatingSystem
$computer = Get-CimInstance -ClassName Win32_ComputerSystem
$guard = Get-CimInstance -Namespace root\Microsoft\Windows\DeviceGuard -ClassName Win32_DeviceGuard -ErrorAction SilentlyContinue
$product = Get-CimInstance -ClassName SoftwareLicensingProduct -Filter "PartialProductKey IS NOT NULL AND Name LIKE 'Windows%'" |
    Select-Object -First 1
$drivers = @(Get-CimInstance -ClassName Win32_SystemDriver -Filter "State = 'Running'" | ForEach-Object { [string]$_.Name })
$networks = @(Get-NetConnectionProfile -ErrorAction SilentlyContinue | ForEach-Object { "$($_.NetworkCategory)" })
$adapters = @(Get-CimInstance -ClassName Win32_NetworkAdapterConfiguration -Filter 'IPEnabled = TRUE' | ForEach-Object {
    @{ dhcp = "$($_.DHCPServer)"; addresses = @($_.IPAddress | Where-Object { $_ }); gateways = @($_.DefaultIPGateway | Where-Object { $_ }); dns = @($_.DNSServerSearchOrder | Where-Object { $_ }) }
})
$rebalance = @(Get-Devices 'PCI\\VEN_1AF4%')
ConvertTo-Json -Compress -Depth 4 -InputObject @{
    caption = [string]$system.Caption
    build = [string]$system.BuildNumber
    product_type = [int]$system.ProductType
    sku = [int]$system.OperatingSystemSKU
    sockets = [int]$computer.NumberOfProcessors
    hypervisor_present = [bool]$computer.HypervisorPresent
    vbs = if ($guard) { [int]$guard.VirtualizationBasedSecurityStatus } else { -1 }
    security_services = @($guard.SecurityServicesRunning | Where-Object { $_ } | ForEach-Object { [int]$_ })
    start_options = "$(Get-Value 'SYSTEM\CurrentControlSet\Control' 'SystemStartOptions')"
    secure_boot = [int](Get-Value 'SYSTEM\CurrentControlSet\Control\SecureBoot\State' 'UEFISecureBootEnabled')
    auto_reboot = [int](Get-Value 'SYSTEM\CurrentControlSet\Control\CrashControl' 'AutoReboot')
    license = if ($product) { [int]$product.LicenseStatus } else { -1 }
    grace_minutes = if ($product) { [long]$product.GracePeriodRemaining } else { -1 }
    containers = @(Get-Devices 'ACPI\\ACPI0010%')
    processors = @(Get-Devices 'ACPI\\%_-_%FAMILY%') + @(Get-Devices 'ACPI\\ACPI0007%')
    memory_devices = @(Get-Devices 'ACPI\\PNP0C80%')
    virtio = $rebalance
    drivers = $drivers
    networks = $networks
    adapters = $adapters
}
