# SPDX-License-Identifier: MIT
# Starts a trace session of one provider into a file, with times of the performance counter.
param(
    [string]$Session,
    [string]$Provider,
    [string]$Flags,
    [string]$Path,
    [int]$Buffers
)
function Invoke-Native($tool, $words) {
    $ErrorActionPreference = 'Continue'
    try { $all = @(& $tool @words 2>&1); $code = $LASTEXITCODE } catch { $all = @($_); $code = -1 }
    $wrong, $lines = $all.Where({ $_ -is [Management.Automation.ErrorRecord] }, 'Split')
    $said = "$wrong $lines".Trim()
    @{ code = [int]$code; lines = @($lines); said = $said.Substring(0, [Math]::Min($said.Length, 1000)) }
}
[void][IO.Directory]::CreateDirectory((Split-Path -Parent $Path))
$arguments = 'create', 'trace', $Session, '-p', $Provider, $Flags, '0xff', '-o', $Path, '-ow', '-ets',
    '-bs', '64', '-nb', [string]$Buffers, [string](2 * $Buffers), '-ct', 'perf'
$done = Invoke-Native 'logman.exe' $arguments
ConvertTo-Json -Compress -InputObject @{ step = 'create'; code = $done.code; said = $done.said }
