# SPDX-License-Identifier: MIT
# Appends the unread records of a driver's ring to a file. The tool's standard error holds no records.
param(
    [string]$Driver,
    [string]$Tool,
    [string]$Path
)
function Invoke-Native($tool, $words) {
    $ErrorActionPreference = 'Continue'
    try { $all = @(& $tool @words 2>&1); $code = $LASTEXITCODE } catch { $all = @($_); $code = -1 }
    $wrong, $lines = $all.Where({ $_ -is [Management.Automation.ErrorRecord] }, 'Split')
    $said = "$wrong $lines".Trim()
    @{ code = [int]$code; lines = @($lines); said = $said.Substring(0, [Math]::Min($said.Length, 1000)) }
}
[void][IO.Directory]::CreateDirectory((Split-Path -Parent $Path))
$done = Invoke-Native $Tool @('--device', $Driver, 'events', '--json')
[IO.File]::AppendAllLines($Path, [string[]]$done.lines)
$said = if ($done.code -eq 0) { "$($done.lines.Count) records" } else { $done.said }
ConvertTo-Json -Compress -InputObject @{ step = 'events'; code = $done.code; said = $said }
