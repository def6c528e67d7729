# SPDX-License-Identifier: MIT
# Switches Driver Verifier on for the named driver files, or off; both count from the next boot.
param(
    [string[]]$Arguments
)
$said = & verifier.exe @Arguments
ConvertTo-Json -Compress -InputObject @{ step = 'verifier'; code = [int]$LASTEXITCODE; said = [string]($said -join ' ') }
