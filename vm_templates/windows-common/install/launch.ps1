# SPDX-License-Identifier: MIT
# Starts provisioning at each boot, from the drive that holds its scripts: the medium may hold changed ones by then.
# With -Install, at the first logon, it creates the task that runs it, and restarts Windows: the host makes a checkpoint then.
# It belongs to the installation, so after a change of it Setup starts again.
param(
    [switch] $Install
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Write-Marker {
    # Writes one line on COM1 (harness/template/serial_markers.py; Microsoft Learn: "SerialPort Class (System.IO.Ports)").
    param(
        [Parameter(Mandatory = $true)][string] $Text
    )
    $port = New-Object -TypeName System.IO.Ports.SerialPort -ArgumentList 'COM1', 115200
    try {
        $port.WriteTimeout = 10000
        $port.Open()
        $port.Write("HPN-MARK $($Text -replace '[^ -~]', '?')`r`n")
        $port.BaseStream.Flush()
    }
    finally {
        $port.Dispose()
    }
}

function Invoke-Native {
    # Runs a native tool, and stops at its exit code.
    param(
        [Parameter(Mandatory = $true)][string] $Tool,
        [string[]] $Arguments = @()
    )
    $ErrorActionPreference = 'Continue'
    $said = & $Tool @Arguments 2>&1 | Out-String
    if ($LASTEXITCODE -ne 0) {
        throw "$Tool ended with $LASTEXITCODE`: $($said.Trim())"
    }
}

try {
    if ($Install) {
        # Below Windows' own folder, where only administrators may write: SYSTEM runs the script.
        $folder = Join-Path -Path $env:SystemRoot -ChildPath 'HotplugHarness'
        New-Item -Path $folder -ItemType Directory -Force | Out-Null
        Copy-Item -LiteralPath $PSCommandPath -Destination $folder -Force
        $copy = Join-Path -Path $folder -ChildPath 'launch.ps1'
        # Microsoft Learn: "schtasks create": as SYSTEM at each start, without a logon, on Server Core too.
        Invoke-Native -Tool 'schtasks.exe' -Arguments '/create', '/tn', 'HotplugHarness', '/sc', 'onstart', '/ru', 'SYSTEM', '/rl', 'highest', '/f', '/tr', "powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File $copy"
        # No automatic logon beside it (Microsoft Learn: "Configure Windows to automate logon").
        Set-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon' -Name 'AutoAdminLogon' -Value '0'
        Write-Marker -Text 'stage installed'
        # /t 5: time for this script and the logon commands to end (Microsoft Learn: "shutdown").
        Invoke-Native -Tool 'shutdown.exe' -Arguments '/r', '/t', '5'
    }
    else {
        # Drives appear while services start.
        $deadline = (Get-Date).AddMinutes(5)
        $start = $null
        while (-not $start) {
            foreach ($letter in 'D', 'E', 'F', 'G', 'H', 'I') {
                if (-not $start -and (Test-Path -LiteralPath "${letter}:\provision\start.ps1")) {
                    $start = "${letter}:\provision\start.ps1"
                }
            }
            if (-not $start) {
                if ((Get-Date) -gt $deadline) {
                    throw 'no drive from D to I holds provision\start.ps1'
                }
                Start-Sleep -Seconds 2
            }
        }
        # It reports its own failures.
        Invoke-Native -Tool 'powershell.exe' -Arguments '-NoLogo', '-NoProfile', '-NonInteractive', '-ExecutionPolicy', 'Bypass', '-File', $start
    }
}
catch {
    Write-Marker -Text "fail 1 1 launch $($_.Exception.Message)"
    exit 1
}
