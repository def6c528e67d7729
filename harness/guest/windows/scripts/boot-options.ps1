# SPDX-License-Identifier: MIT
# Runs bcdedit once for each line of words, and ends with the first that fails.
param(
    [string[]]$Lines
)
$step = ''
$code = 0
$said = ''
foreach ($line in $Lines) {
    $step = $line
    $words = $line -split ' '
    $said = & bcdedit.exe @words
    $code = $LASTEXITCODE
    if ($code -ne 0) { break }
}
ConvertTo-Json -Compress -InputObject @{ step = $step; code = [int]$code; said = [string]($said -join ' ') }
