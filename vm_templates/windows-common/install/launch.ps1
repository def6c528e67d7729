# SPDX-License-Identifier: MIT
# Starts provisioning at each boot, from whichever drive holds its scripts: the medium may hold mended ones by then.
# With -Install, at the first logon, it makes the task that runs it and restarts Windows: the host keeps that moment.
# It belongs to the installation, so a change of it makes Setup begin anew.
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
        # Below Windows' own folder, where only administrators write: what lies there is run as SYSTEM.
        $folder = Join-Path -Path $env:SystemRoot -ChildPath 'HotplugHarness'
        New-Item -Path $folder -ItemType Directory -Force | Out-Null
        Copy-Item -LiteralPath $PSCommandPath -Destination $folder -Force
        $copy = Join-Path -Path $folder -ChildPath 'launch.ps1'
        # Microsoft Learn: "schtasks create": as SYSTEM at each start, with nobody logged on, on Server Core too.
        Invoke-Native -Tool 'schtasks.exe' -Arguments '/create', '/tn', 'HotplugHarness', '/sc', 'onstart', '/ru', 'SYSTEM', '/rl', 'highest', '/f', '/tr', "powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File $copy"
        # Nobody is logged on beside it (Microsoft Learn: "Configure Windows to automate logon").
        Set-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon' -Name 'AutoAdminLogon' -Value '0'
        Write-Marker -Text 'stage installed'
        # /t 5: time for this script and the logon commands to end (Microsoft Learn: "shutdown").
        Invoke-Native -Tool 'shutdown.exe' -Arguments '/r', '/t', '5'
    }
    else {
        # Drives come while services start.
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
        # It tells of its own failures.
        Invoke-Native -Tool 'powershell.exe' -Arguments '-NoLogo', '-NoProfile', '-NonInteractive', '-ExecutionPolicy', 'Bypass', '-File', $start
    }
}
catch {
    Write-Marker -Text "fail 1 1 launch $($_.Exception.Message)"
    exit 1
}
