# SPDX-License-Identifier: MIT
# Runs the steps in its folder, by their numbers, and reports each to the host on COM1. The first failure of an essential
# step ends it: the guest sends its logs and waits, and the host sees which step failed and why. The failure of a comfort
# step is a warning. After the last step the guest turns itself off. It also does so if it cannot report a failure, which
# the host sees too. After a restart in between, completed steps are skipped.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Cmdlets that are functions of a module do not see a script's preference, only the global one
# (github.com/PowerShell/PowerShell/issues/4568).
$global:ErrorActionPreference = 'Stop'

Import-Module -Name (Join-Path -Path $PSScriptRoot -ChildPath 'Provision.psm1') -Force

$number, $count, $name, $script = 1, 1, 'settings', $PSCommandPath
try {
    $settings = Get-Content -LiteralPath (Join-Path -Path $PSScriptRoot -ChildPath 'settings.json') -Raw | ConvertFrom-Json
    $steps = @(
        Get-ChildItem -LiteralPath $PSScriptRoot -File |
            Where-Object -FilterScript { $_.Name -match '^[0-9]{2}-[a-z0-9-]+\.ps1$' } |
            Sort-Object -Property Name
    )

    # Made by the installation, removed by the step "launcher". The host's checkpoint has its state before the first step.
    $folder = Join-Path -Path $env:SystemRoot -ChildPath 'HotplugHarness'
    $record = Join-Path -Path $folder -ChildPath 'done.txt'
    $done = @(if (Test-Path -LiteralPath $record) { Get-Content -LiteralPath $record })

    Write-Marker -Text 'stage provisioning'
    $number, $count = 0, $steps.Count
    foreach ($step in $steps) {
        $number, $name, $script = ($number + 1), $step.BaseName.Substring(3), $step.FullName
        Write-Marker -Text "step $number $count $name"
        if ($done -contains $step.Name) {
            continue
        }
        Write-Journal -Text "step $number of $count, $name"
        try {
            & $step.FullName -Settings $settings
        }
        catch {
            if ($settings.comfort -notcontains $name) {
                throw
            }
            Write-Journal -Text "warning: $($_ | Out-String) $($_.ScriptStackTrace)"
            Write-Marker -Text "warn the step failed: $($_.Exception.Message)"
            continue
        }
        if (Test-Path -LiteralPath $folder) {
            Add-Content -LiteralPath $record -Value $step.Name -Encoding ASCII
        }
    }

    # Before 'done', which would be wrong for a guest that does not turn itself off. /t 10: time for that marker, this script
    # and the logon commands (Microsoft Learn: "shutdown").
    $name, $script = 'shutdown', $PSCommandPath
    Invoke-Native -Tool 'shutdown.exe' -Arguments '/s', '/t', '10' | Out-Null
    Write-Marker -Text 'done'
}
catch {
    # The line of the step, which called the failed command (Microsoft Learn: "ErrorRecord.ScriptStackTrace").
    $line = $_.InvocationInfo.ScriptLineNumber
    if ("$($_.ScriptStackTrace)" -match ([regex]::Escape($script) + ':\D*([0-9]+)')) {
        $line = $Matches[1]
    }
    Write-Journal -Text "failed: $($_ | Out-String) $($_.ScriptStackTrace)"
    $reason = "$($_.Exception.Message)"
    $reason = $reason.Substring(0, [Math]::Min($reason.Length, 800))
    try {
        Write-Marker -Text "fail $number $count $name $reason (line $line)"
        Send-AllLogs
    }
    catch {
        Invoke-Native -Tool 'shutdown.exe' -Arguments '/s', '/t', '10' | Out-Null
    }
    exit 1
}
