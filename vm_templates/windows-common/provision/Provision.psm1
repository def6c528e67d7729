# SPDX-License-Identifier: MIT
# The common functions of the steps: markers on COM1, native tools with checked exit codes, and registry values.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# The log of provisioning. The host uses the same name (harness/template/guest_logs.py).
$journal = Join-Path -Path $env:SystemRoot -ChildPath 'Logs\HotplugHarness.log'

function Write-Marker {
    # Writes one line on COM1 for the host (harness/template/serial_markers.py). QEMU reads at any speed. If
    # another process uses the port, this waits for up to half a minute.
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
    # Reports a fact to the host that only this guest knows.
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [Parameter(Mandatory = $true)][string] $Value
    )
    Write-Marker -Text "fact $Name $Value"
}

function Write-Journal {
    # Adds a line to the log of provisioning, which the host fetches when a build fails. A log error never ends a build.
    param(
        [Parameter(Mandatory = $true)][string] $Text
    )
    try {
        Add-Content -LiteralPath $journal -Value "$((Get-Date).ToUniversalTime().ToString('s'))Z $Text" -Encoding ASCII
    }
    catch {
        return
    }
}

function Invoke-Comfort {
    # Does something that the template can do without: a failure is a warning for the host, and the step continues.
    param(
        [Parameter(Mandatory = $true)][string] $What,
        [Parameter(Mandatory = $true)][scriptblock] $Action
    )
    try {
        & $Action
    }
    catch {
        Write-Journal -Text "warning: $What`: $($_ | Out-String) $($_.ScriptStackTrace)"
        Write-Marker -Text "warn $What`: $($_.Exception.Message)"
    }
}

function Send-Log {
    # Sends the end of a file to the host, compressed, in lines on COM1 (harness/template/serial_logs.py). With -Whole a file
    # larger than Limit is not sent: the end of an event log alone is useless.
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [Parameter(Mandatory = $true)][string] $Path,
        [Parameter(Mandatory = $true)][int] $Limit,
        [switch] $Whole
    )
    try {
        # Other processes may write to it or remove it meanwhile.
        $file = [System.IO.File]::Open($Path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, [System.IO.FileShare] 'ReadWrite, Delete')
        try {
            $size = [int] [Math]::Min($file.Length, $Limit)
            if ($Whole -and $file.Length -gt $Limit) {
                throw "$($file.Length) bytes, more than $Limit"
            }
            $file.Position = $file.Length - $size
            $content = New-Object -TypeName 'byte[]' -ArgumentList $size
            $read = 0
            do {
                $got = $file.Read($content, $read, $size - $read)
                $read += $got
            } while ($got -gt 0 -and $read -lt $size)
        }
        finally {
            $file.Dispose()
        }
        $packed = New-Object -TypeName System.IO.MemoryStream
        $zip = New-Object -TypeName System.IO.Compression.GZipStream -ArgumentList $packed, ([System.IO.Compression.CompressionMode]::Compress)
        $zip.Write($content, 0, $read)
        $zip.Dispose()
        $text = [System.Convert]::ToBase64String($packed.ToArray())
        $count = [int] [Math]::Ceiling($text.Length / 900)
        if ($count -gt 999) {
            throw "$($text.Length) characters when compressed, too many for COM1"
        }
        for ($number = 1; $number -le $count; $number++) {
            $start = 900 * ($number - 1)
            Write-Marker -Text "log $Name $number $count $($text.Substring($start, [Math]::Min(900, $text.Length - $start)))"
        }
    }
    catch {
        Write-Marker -Text "unread $Name $($_.Exception.Message)"
    }
}

function Send-EventLog {
    # Sends an event log, exported to a file first: the service keeps the log itself open (Microsoft Learn: "wevtutil").
    param(
        [Parameter(Mandatory = $true)][string] $Name,
        [Parameter(Mandatory = $true)][string] $Log
    )
    $file = Join-Path -Path $env:SystemRoot -ChildPath "Temp\$Name.evtx"
    try {
        Invoke-Native -Tool 'wevtutil.exe' -Arguments 'export-log', $Log, $file, '/overwrite:true' | Out-Null
    }
    catch {
        Write-Marker -Text "unread $Name $($_.Exception.Message)"
        return
    }
    Send-Log -Name $Name -Path $file -Limit 4194304 -Whole
}

function Send-AllLogs {
    # Sends the logs that show why a step failed. Their places: Microsoft Learn, "Windows Setup Log Files and Event Logs".
    $windows = $env:SystemRoot
    Send-Log -Name 'provisioning' -Path $journal -Limit 1048576
    Send-Log -Name 'setupact' -Path (Join-Path -Path $windows -ChildPath 'Panther\setupact.log') -Limit 1048576
    Send-Log -Name 'setuperr' -Path (Join-Path -Path $windows -ChildPath 'Panther\setuperr.log') -Limit 1048576
    Send-Log -Name 'cbs' -Path (Join-Path -Path $windows -ChildPath 'Logs\CBS\CBS.log') -Limit 1048576
    Send-Log -Name 'sshd' -Path (Join-Path -Path $env:ProgramData -ChildPath 'ssh\logs\sshd.log') -Limit 1048576
    Send-EventLog -Name 'openssh-events' -Log 'OpenSSH/Operational'
    Send-EventLog -Name 'winrm-events' -Log 'Microsoft-Windows-WinRM/Operational'
    Write-Marker -Text 'logs'
}

function Invoke-Native {
    # Runs a native tool. PowerShell 5.1 does not stop at its exit code (Microsoft Learn: "about_Automatic_Variables",
    # $LASTEXITCODE), so this does. With the preference Stop, redirected standard error would end a tool that only warns. With
    # Continue, a missing tool would leave the exit code of another.
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
    Write-Journal -Text "$Tool $($Arguments -join ' ') ended with $code`: $said"
    if ($Success -notcontains $code) {
        throw "$Tool $($Arguments -join ' ') ended with $code`: $said"
    }
    $said
}

function Set-RegistryValue {
    # Creates the key if it is missing, and sets one of its values.
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
    # Makes a service start automatically after the others, when the network is up, and restart 5 s after a failure, also
    # after an orderly end with an error.
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
    # Returns SharedDataFlags of KUSER_SHARED_DATA, which every process sees at this address (Microsoft Learn:
    # "KUSER_SHARED_DATA structure (ntddk.h)"); nothing outside Windows.
    if ([System.Environment]::OSVersion.Platform -eq 'Win32NT') {
        [System.Runtime.InteropServices.Marshal]::ReadInt32([System.IntPtr] 0x7FFE02F0)
    }
}

function Get-Binding {
    # Returns the number of devices of Win32_PnPEntity, and their services and problems, each once.
    param(
        [object[]] $Device = @()
    )
    $bound = @($Device | ForEach-Object -Process { "$(if ($_.Service) { $_.Service } else { 'none' }) problem $($_.ConfigManagerErrorCode)" } | Sort-Object -Unique)
    "$($Device.Count) $($bound -join ', ')"
}

function Get-ServiceTrouble {
    # Returns details about a service that did not start, since the error has none: its exit codes, the rights of its folders,
    # its own last events, and its program's output for the arguments in Test.
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
    # Last, since a marker's length is limited, and events are the most informative.
    if ($Log) {
        try {
            $said += @(Get-WinEvent -LogName $Log -MaxEvents 3 | ForEach-Object -Process { $_.Message })
        }
        catch {
            # Get-WinEvent fails for a log without events.
            $said += "$Log`: $($_.Exception.Message)"
        }
    }
    $said -join '; '
}

Export-ModuleMember -Function 'Write-Marker', 'Write-Fact', 'Write-Journal', 'Invoke-Comfort', 'Invoke-Native', 'Set-RegistryValue', 'Set-ServiceStart', 'Get-SharedFlag', 'Get-Binding', 'Get-ServiceTrouble', 'Send-AllLogs'
