# SPDX-License-Identifier: MIT
# Puts the System event log and the end of the installation log into files, and lists the crash dumps. A file that
# is missing does not affect the others: setup says why there is no installation log, "" if there is one.
param(
    [string]$Directory,
    [long]$Most
)
function Invoke-Native($tool, $words) {
    $ErrorActionPreference = 'Continue'
    try { $all = @(& $tool @words 2>&1); $code = $LASTEXITCODE } catch { $all = @($_); $code = -1 }
    $wrong, $lines = $all.Where({ $_ -is [Management.Automation.ErrorRecord] }, 'Split')
    $said = "$wrong $lines".Trim()
    @{ code = [int]$code; lines = @($lines); said = $said.Substring(0, [Math]::Min($said.Length, 1000)) }
}
[void][IO.Directory]::CreateDirectory($Directory)
$events = Invoke-Native 'wevtutil.exe' @('epl', 'System', "$Directory\System.evtx", '/ow:true')
$setup = ''
try {
    $source = [IO.File]::Open("$env:SystemRoot\INF\setupapi.dev.log", 'Open', 'Read', 'ReadWrite')
    try {
        if ($source.Length -gt $Most) { [void]$source.Seek(-$Most, 'End') }
        $target = [IO.File]::Create("$Directory\setupapi.dev.log")
        try { $source.CopyTo($target) } finally { $target.Close() }
    } finally { $source.Close() }
} catch { $setup = $_.Exception.GetBaseException().Message }
$dump = Get-Item -LiteralPath "$env:SystemRoot\MEMORY.DMP" -ErrorAction SilentlyContinue
ConvertTo-Json -Compress -InputObject @{
    code = $events.code
    said = $events.said
    setup = $setup
    minidumps = @(Get-ChildItem -Path "$env:SystemRoot\Minidump\*.dmp" -ErrorAction SilentlyContinue).Count
    dump = [long]$dump.Length
}
