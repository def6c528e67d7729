# SPDX-License-Identifier: MIT
# Starts hpnctl watch, which writes the device arrivals in user mode to a file, and does not wait for it.
# A process that WMI creates belongs to no job of this session, and outlives it (CIMWin32: create-method-in-class-win32-process.md).
param(
    [string]$Tool,
    [string]$Path,
    [int]$Seconds
)
[void][IO.Directory]::CreateDirectory((Split-Path -Parent $Path))
$command = 'cmd.exe /c ""' + $Tool + '" watch --json --seconds ' + $Seconds + ' > "' + $Path + '""'
$made = Invoke-CimMethod -ClassName Win32_Process -MethodName Create -Arguments @{ CommandLine = $command }
ConvertTo-Json -Compress -InputObject @{ step = 'start'; code = [int]$made.ReturnValue }
