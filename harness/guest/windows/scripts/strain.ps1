# SPDX-License-Identifier: MIT
# Starts a process for each processor, which keeps it and some memory busy for Seconds, and does not wait for them.
# A process that WMI creates belongs to no job of this session and outlives it (CIMWin32: create-method-in-class-win32-process.md).
param(
    [int]$Seconds
)
$work = '$busy = [Diagnostics.Stopwatch]::StartNew(); $memory = New-Object byte[] 67108864; ' +
    'while ($busy.Elapsed.TotalSeconds -lt ' + $Seconds + ') { [Array]::Reverse($memory) }'
$encoded = [Convert]::ToBase64String([Text.Encoding]::Unicode.GetBytes($work))
$command = 'powershell.exe -NoProfile -NonInteractive -EncodedCommand ' + $encoded
$code = 0
foreach ($number in 1..[Environment]::ProcessorCount) {
    $made = Invoke-CimMethod -ClassName Win32_Process -MethodName Create -Arguments @{ CommandLine = $command }
    if ($made.ReturnValue -ne 0) { $code = $made.ReturnValue }
}
ConvertTo-Json -Compress -InputObject @{ step = 'start'; code = [int]$code }
