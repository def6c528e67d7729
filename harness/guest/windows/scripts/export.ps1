# SPDX-License-Identifier: MIT
# Puts the System event log and the end of the installation log into files, and says which crash dumps there are.
param(
    [string]$Directory,
    [long]$Most
)
[void][IO.Directory]::CreateDirectory($Directory)
$said = & wevtutil.exe epl System "$Directory\System.evtx" /ow:true
$code = $LASTEXITCODE
$source = [IO.File]::Open("$env:SystemRoot\INF\setupapi.dev.log", 'Open', 'Read', 'ReadWrite')
try {
    if ($source.Length -gt $Most) { [void]$source.Seek(-$Most, 'End') }
    $target = [IO.File]::Create("$Directory\setupapi.dev.log")
    try { $source.CopyTo($target) } finally { $target.Close() }
} finally { $source.Close() }
$dump = Get-Item -LiteralPath "$env:SystemRoot\MEMORY.DMP" -ErrorAction SilentlyContinue
ConvertTo-Json -Compress -InputObject @{
    code = [int]$code
    said = [string]($said -join ' ')
    minidumps = @(Get-ChildItem -Path "$env:SystemRoot\Minidump\*.dmp" -ErrorAction SilentlyContinue).Count
    dump = [long]$dump.Length
}
