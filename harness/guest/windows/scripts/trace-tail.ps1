# SPDX-License-Identifier: MIT
# Reads the performance counter, makes a session write its buffers, and returns its file from an offset on, zipped.
param(
    [string]$Session,
    [string]$Tool,
    [bool]$Flush,
    [string]$Path,
    [long]$Offset,
    [long]$Most
)
function Invoke-Native($tool, $words) {
    $ErrorActionPreference = 'Continue'
    try { $all = @(& $tool @words 2>&1); $code = $LASTEXITCODE } catch { $all = @($_); $code = -1 }
    $wrong, $lines = $all.Where({ $_ -is [Management.Automation.ErrorRecord] }, 'Split')
    $said = "$wrong $lines".Trim()
    @{ code = [int]$code; lines = @($lines); said = $said.Substring(0, [Math]::Min($said.Length, 1000)) }
}
$now = [Diagnostics.Stopwatch]::GetTimestamp()
$done = @{ code = 0; said = '' }
if ($Flush) { $done = Invoke-Native $Tool @('trace', $Session, '--flush') }
$packed = New-Object IO.MemoryStream
# The session itself keeps the file open, and continues to write.
$source = [IO.File]::Open($Path, 'Open', 'Read', 'ReadWrite')
try {
    $size = $source.Length
    [void]$source.Seek($Offset, 'Begin')
    $bytes = New-Object byte[] ([Math]::Max(0, [Math]::Min($Most, $size - $Offset)))
    $got = 0
    while ($got -lt $bytes.Length) {
        $count = $source.Read($bytes, $got, $bytes.Length - $got)
        if ($count -eq 0) { break }
        $got += $count
    }
    $zip = New-Object IO.Compression.GZipStream($packed, [IO.Compression.CompressionMode]::Compress, $true)
    try { $zip.Write($bytes, 0, $got) } finally { $zip.Dispose() }
} finally { $source.Dispose() }
ConvertTo-Json -Compress -InputObject @{
    code = $done.code
    said = $done.said
    now = [long]$now
    size = [long]$size
    data = [Convert]::ToBase64String($packed.ToArray())
}
