# SPDX-License-Identifier: MIT
# Runs bcdedit once for each line of arguments, and ends at the first error. A value that is not set is not deleted:
# bcdedit would fail. The names of values are the same in all languages.
param(
    [string[]]$Lines
)
function Invoke-Native($tool, $words) {
    $ErrorActionPreference = 'Continue'
    try { $all = @(& $tool @words 2>&1); $code = $LASTEXITCODE } catch { $all = @($_); $code = -1 }
    $wrong, $lines = $all.Where({ $_ -is [Management.Automation.ErrorRecord] }, 'Split')
    $said = "$wrong $lines".Trim()
    @{ code = [int]$code; lines = @($lines); said = $said.Substring(0, [Math]::Min($said.Length, 1000)) }
}
$step = ''
$done = @{ code = 0; said = '' }
foreach ($line in $Lines) {
    $step = $line
    $words = $line -split ' '
    if ($words[0] -eq '/deletevalue') {
        $there = Invoke-Native 'bcdedit.exe' @('/enum', $words[1])
        if ($there.code -eq 0 -and -not ($there.lines -match "^$($words[2])\s")) { continue }
    }
    $done = Invoke-Native 'bcdedit.exe' $words
    if ($done.code -ne 0) { break }
}
ConvertTo-Json -Compress -InputObject @{ step = $step; code = $done.code; said = $done.said }
