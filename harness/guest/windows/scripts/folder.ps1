# SPDX-License-Identifier: MIT
# Makes a folder and its parents.
param(
    [string]$Path
)
[void][IO.Directory]::CreateDirectory($Path)
ConvertTo-Json -Compress -InputObject @{ state = 'made' }
