# SPDX-License-Identifier: MIT
# What every step uses: markers on COM1, native tools whose exit code counts, and registry values.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Write-Marker {
    # Writes one line on COM1 for the host (harness/template/serial_markers.py). QEMU takes it at any speed. What else has the
    # port open is waited for, half a minute.
    # Microsoft Learn: "SerialPort Class (System.IO.Ports)".
    param(
        [Parameter(Mandatory = $true)][string] $Text
    )
    $line = $Text -replace '[^ -~]', '?'
    $line = $line.Substring(0, [Math]::Min($line.Length, 1000))
    for ($try = 1; $try -le 7; $try++) {
        $port = New-Object -TypeName System.IO.Ports.SerialPort -ArgumentList 'COM1', 115200
        try {
            $port.WriteTimeout = 10000
            $port.Open()
            $port.Write("HPN-MARK $line`r`n")
            $port.BaseStream.Flush()
            return
        }
        catch {
            if ($try -eq 7) {
                throw
            }
        }
        finally {
            $port.Dispose()
        }
        Start-Sleep -Seconds 5
    }
}

function Write-Fact {
    # Tells the host what only this guest knows.
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [Parameter(Mandatory = $true)][string] $Value
    )
    Write-Marker -Text "fact $Name $Value"
}

function Invoke-Native {
    # Runs a native tool. PowerShell 5.1 does not stop at its exit code (Microsoft Learn: "about_Automatic_Variables",
    # $LASTEXITCODE), so this does. With Stop as preference, redirected standard error would end a tool that only warns; with
    # Continue a tool that is not there would leave the exit code of another.
    param(
        [Parameter(Mandatory = $true)][string] $Tool,
        [string[]] $Arguments = @(),
        [int[]] $Success = @(0)
    )
    $ErrorActionPreference = 'Continue'
    try {
        $said = (& $Tool @Arguments 2>&1 | ForEach-Object -Process { "$_" } | Out-String).Trim()
        $code = $LASTEXITCODE
    }
    catch {
        throw "$Tool cannot be run: $($_.Exception.Message)"
    }
    if ($Success -notcontains $code) {
        throw "$Tool $($Arguments -join ' ') ended with $code`: $said"
    }
    $said
}

function Set-RegistryValue {
    # Makes the key if it is missing, and sets one value of it.
    # Microsoft Learn: "New-ItemProperty (Microsoft.PowerShell.Management)", example for the registry provider.
    param(
        [Parameter(Mandatory = $true)][string] $Key,
        [Parameter(Mandatory = $true)][string] $Name,
        [Parameter(Mandatory = $true)][object] $Value,
        [ValidateSet('DWord', 'QWord', 'String')][string] $Kind = 'DWord'
    )
    if (-not (Test-Path -LiteralPath $Key)) {
        New-Item -Path $Key -Force | Out-Null
    }
    New-ItemProperty -LiteralPath $Key -Name $Name -Value $Value -PropertyType $Kind -Force | Out-Null
}

function Set-ServiceStart {
    # Has a service start by itself a little after the others, when the network is there, and again 5 s after it failed,
    # also if it ended in order with an error.
    # Microsoft Learn: "sc.exe config", start= delayed-auto; "Sc failure"; "SERVICE_FAILURE_ACTIONS_FLAG structure".
    param(
        [Parameter(Mandatory = $true)][string] $Name
    )
    Invoke-Native -Tool 'sc.exe' -Arguments 'config', $Name, 'start=', 'delayed-auto' | Out-Null
    $actions = 'restart/5000/restart/5000/restart/5000'
    Invoke-Native -Tool 'sc.exe' -Arguments 'failure', $Name, 'reset=', '86400', 'actions=', $actions | Out-Null
    Invoke-Native -Tool 'sc.exe' -Arguments 'failureflag', $Name, '1' | Out-Null
}

function Get-SharedFlag {
    # SharedDataFlags of KUSER_SHARED_DATA, which Windows shows to every process at this address (Microsoft Learn:
    # "KUSER_SHARED_DATA structure (ntddk.h)"); nothing where this is no Windows.
    if ([System.Environment]::OSVersion.Platform -eq 'Win32NT') {
        [System.Runtime.InteropServices.Marshal]::ReadInt32([System.IntPtr] 0x7FFE02F0)
    }
}

function Get-Binding {
    # How many devices of Win32_PnPEntity there are, and which services and problems they have, each once.
    param(
        [object[]] $Device = @()
    )
    $bound = @($Device | ForEach-Object -Process { "$(if ($_.Service) { $_.Service } else { 'none' }) problem $($_.ConfigManagerErrorCode)" } | Sort-Object -Unique)
    "$($Device.Count) $($bound -join ', ')"
}

function Get-ServiceTrouble {
    # What a service that did not start rests on, since the error says only that: its exit codes, the rights of its folders,
    # its own last events, and what its program says to the words of Test.
    # Microsoft Learn: "Win32_Service class"; "Get-Acl (Microsoft.PowerShell.Security)"; "Get-WinEvent".
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [string[]] $Folder = @(),
        [string] $Log = '',
        [string[]] $Test = @()
    )
    $said = @()
    $service = Get-CimInstance -ClassName 'Win32_Service' -Filter "Name = '$Name'"
    if ($service) {
        $said += "$($service.State), exit code $($service.ExitCode), its own $($service.ServiceSpecificExitCode)"
    }
    else {
        $said += "There is no service $Name."
    }
    foreach ($each in $Folder) {
        if (Test-Path -LiteralPath $each) {
            $said += "$each $((Get-Acl -LiteralPath $each).Sddl)"
        }
        else {
            $said += "$each is not there"
        }
    }
    if ($service -and $Test.Count -gt 0 -and "$($service.PathName)" -match '^"?([^"]+\.exe)') {
        try {
            $said += "$Name $($Test -join ' '): $(Invoke-Native -Tool $Matches[1] -Arguments $Test)"
        }
        catch {
            $said += $_.Exception.Message
        }
    }
    # Last, since a marker holds so many characters, and events say most.
    if ($Log) {
        try {
            $said += @(Get-WinEvent -LogName $Log -MaxEvents 3 | ForEach-Object -Process { $_.Message })
        }
        catch {
            # A log without an event is an error to Get-WinEvent.
            $said += "$Log`: $($_.Exception.Message)"
        }
    }
    $said -join '; '
}

Export-ModuleMember -Function 'Write-Marker', 'Write-Fact', 'Invoke-Native', 'Set-RegistryValue', 'Set-ServiceStart', 'Get-SharedFlag', 'Get-Binding', 'Get-ServiceTrouble'
