# SPDX-License-Identifier: MIT
# Switches Driver Verifier on for the named driver files, or off. Both take effect at the next boot.
param(
    [string[]]$Arguments
)
function Invoke-Native($tool, $words) {
    $ErrorActionPreference = 'Continue'
    try { $all = @(& $tool @words 2>&1); $code = $LASTEXITCODE } catch { $all = @($_); $code = -1 }
    $wrong, $lines = $all.Where({ $_ -is [Management.Automation.ErrorRecord] }, 'Split')
    $said = "$wrong $lines".Trim()
    @{ code = [int]$code; lines = @($lines); said = $said.Substring(0, [Math]::Min($said.Length, 1000)) }
}
$done = Invoke-Native 'verifier.exe' $Arguments
ConvertTo-Json -Compress -InputObject @{ step = 'verifier'; code = $done.code; said = $done.said }
