# SPDX-License-Identifier: MIT
# Essential: the manifest promises SSH if it was requested.
# The OpenSSH server, for files in both directions: from the medium or from the given file, with only the harness's key.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$kind = $Settings.openssh
if ($kind -eq 'none') {
    # Files are then copied over WinRM; the host's manifest says so.
    Write-Fact -Name 'openssh' -Value 'none'
    return
}

$given = Join-Path -Path $PSScriptRoot -ChildPath "openssh.$kind"
if ($kind -eq 'msi') {
    # Microsoft Learn: "msiexec"; 3010 is success that requires a restart.
    Invoke-Native -Tool 'msiexec.exe' -Arguments '/i', $given, '/qn', '/norestart' -Success 0, 3010 | Out-Null
}
elseif ($kind -eq 'zip') {
    # Win32-OpenSSH wiki: "Install Win32 OpenSSH", with the script in the archive.
    $folder = Join-Path -Path $env:ProgramFiles -ChildPath 'OpenSSH'
    $unpacked = Join-Path -Path $env:TEMP -ChildPath 'openssh'
    Expand-Archive -LiteralPath $given -DestinationPath $unpacked -Force
    $inner = Get-ChildItem -LiteralPath $unpacked -Recurse -Filter 'install-sshd.ps1' | Select-Object -First 1
    New-Item -Path $folder -ItemType Directory -Force | Out-Null
    # The files of a running service cannot be replaced.
    Get-Service | Where-Object -FilterScript { $_.Name -eq 'sshd' } | Stop-Service -Force
    Copy-Item -Path (Join-Path -Path $inner.DirectoryName -ChildPath '*') -Destination $folder -Recurse -Force
    # In a separate process: it was not written for strict mode, which called scripts inherit.
    $installer = Join-Path -Path $folder -ChildPath 'install-sshd.ps1'
    Invoke-Native -Tool 'powershell.exe' -Arguments '-NoProfile', '-NonInteractive', '-ExecutionPolicy', 'Bypass', '-File', $installer | Out-Null
}
elseif ($kind -eq 'cab') {
    # Microsoft Learn: "Add-WindowsPackage (DISM)".
    Add-WindowsPackage -Online -PackagePath $given -NoRestart | Out-Null
}
elseif ($kind -eq 'iso') {
    # A medium of features on demand, in another drive (Microsoft Learn: "Features on Demand", Add-WindowsCapability -Source).
    $cab = Get-PSDrive -PSProvider FileSystem |
        ForEach-Object -Process { Get-ChildItem -Path $_.Root -Filter 'OpenSSH-Server-Package*amd64*.cab' -Recurse -Depth 2 -ErrorAction SilentlyContinue } |
        Select-Object -First 1
    if (-not $cab) {
        throw 'no drive holds an OpenSSH-Server-Package*.cab; give the medium of features on demand for this Windows'
    }
    Add-WindowsCapability -Online -Name 'OpenSSH.Server~~~~0.0.1.0' -Source $cab.DirectoryName -LimitAccess | Out-Null
}

# "inbox" continues here: the service exists and is disabled (Microsoft Learn: "Get started with OpenSSH Server for
# Windows"). It starts before anything is put into its folder: then it creates folder, configuration and host keys itself,
# with the rights that it requires. From 9.4 on sshd ends at once in a folder that users may write to, such as one made
# here (github.com/PowerShell/Win32-OpenSSH/issues/2282 and 2287).
$programData = Join-Path -Path $env:ProgramData -ChildPath 'ssh'
$logs = Join-Path -Path $programData -ChildPath 'logs'
try {
    Set-ServiceStart -Name 'sshd'
    Start-Service -Name 'sshd'
}
catch {
    throw "$($_.Exception.Message) $(Get-ServiceTrouble -Name 'sshd' -Folder $programData, $logs -Log 'OpenSSH/Operational' -Test '-t')"
}
# Whether sshd or the archive made the folders: SYSTEM and administrators may write there, others read (the same issues).
foreach ($folder in $programData, $logs) {
    if (Test-Path -LiteralPath $folder) {
        Invoke-Native -Tool 'icacls.exe' -Arguments $folder, '/setowner', '*S-1-5-32-544' | Out-Null
        Invoke-Native -Tool 'icacls.exe' -Arguments $folder, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '/grant:r', '*S-1-5-32-544:(OI)(CI)F', '/grant:r', '*S-1-5-11:(OI)(CI)RX' | Out-Null
    }
}

$keys = Join-Path -Path $programData -ChildPath 'administrators_authorized_keys'
Copy-Item -LiteralPath (Join-Path -Path $PSScriptRoot -ChildPath 'authorized_keys') -Destination $keys -Force
# A copy from a CD-ROM is read-only.
Set-ItemProperty -LiteralPath $keys -Name 'IsReadOnly' -Value $false
# Only administrators and SYSTEM, by their numbers (Microsoft Learn: "Key-based authentication in OpenSSH for Windows").
Invoke-Native -Tool 'icacls.exe' -Arguments $keys, '/inheritance:r', '/grant', '*S-1-5-32-544:F', '/grant', '*S-1-5-18:F' | Out-Null

# Keys only. The setting must be before the first Match (Microsoft Learn: "OpenSSH Server configuration for Windows";
# OpenBSD manual, sshd_config: the first value counts).
$configuration = Join-Path -Path $programData -ChildPath 'sshd_config'
$ours = 'PasswordAuthentication no', 'PubkeyAuthentication yes'
$lines = $ours + @(Get-Content -LiteralPath $configuration | Where-Object -FilterScript { $ours -notcontains $_ })
Set-Content -LiteralPath $configuration -Value $lines -Encoding ASCII
try {
    Restart-Service -Name 'sshd'
    # It may have started, and ended after it had checked its folder.
    Start-Sleep -Seconds 5
    $service = Get-CimInstance -ClassName 'Win32_Service' -Filter "Name = 'sshd'"
    if ($service.State -ne 'Running') {
        throw "sshd was started, and is $($service.State) now."
    }
}
catch {
    throw "$($_.Exception.Message) $(Get-ServiceTrouble -Name 'sshd' -Folder $programData, $logs -Log 'OpenSSH/Operational' -Test '-t')"
}

# Fails if a rule of that name exists (Microsoft Learn: "New-NetFirewallRule").
if (-not (Get-NetFirewallRule | Where-Object -FilterScript { $_.Name -eq 'HotplugHarness-SSH' })) {
    New-NetFirewallRule -Name 'HotplugHarness-SSH' -DisplayName 'Hotplug Harness: SSH' -Direction Inbound -Protocol TCP -LocalPort 22 -Action Allow -Profile Any | Out-Null
}
$hostKey = (Get-Content -LiteralPath (Join-Path -Path $programData -ChildPath 'ssh_host_ed25519_key.pub') -TotalCount 1) -split ' '
Write-Fact -Name 'openssh' -Value $kind
Write-Fact -Name 'ssh-host-key' -Value "$($hostKey[0]) $($hostKey[1])"
