# SPDX-License-Identifier: MIT
# Runs jobs, one line of JSON each, in one runspace: a PowerShell takes nearly a second to start, and a runspace a third.
# Each script has a scope of its own, and what it can leave outside that is put back before the next job.
param([string] $Doubles)
$ErrorActionPreference = 'Stop'
. $Doubles
$state = [Management.Automation.Runspaces.InitialSessionState]::CreateDefault()
foreach ($each in Microsoft.PowerShell.Management\Get-ChildItem -Path 'function:') {
    if ($each.ScriptBlock.File -eq $Doubles) {
        $state.Commands.Add([Management.Automation.Runspaces.SessionStateFunctionEntry]::new($each.Name, $each.Definition))
    }
}
foreach ($name in 'Registry', 'Certificates', 'Listeners', 'WSManItems', 'FirewallRules', 'Returned', 'Cim') { Remove-Variable -Name $name -Scope Global -ErrorAction SilentlyContinue }
$space = [RunspaceFactory]::CreateRunspace($state)
$space.Open()
$fresh = '$global:ErrorActionPreference = "Continue"; $global:LASTEXITCODE = 0; $global:SshRuns = $false; Remove-Module -Name Provision -ErrorAction SilentlyContinue'
$console = [Console]::Out
$stderr = [Console]::Error
while ($null -ne ($line = [Console]::In.ReadLine())) {
    $job = $line | ConvertFrom-Json -AsHashtable
    [Environment]::CurrentDirectory = $job.world
    foreach ($name in $job.environment.Keys) { [Environment]::SetEnvironmentVariable($name, $job.environment[$name]) }
    $shown = @()
    foreach ($script in @($fresh, $job.before) + @($job.scripts)) {
        $written, $wrong = [IO.StringWriter]::new(), [IO.StringWriter]::new()
        [Console]::SetOut($written)
        [Console]::SetError($wrong)
        $shell = [PowerShell]::Create()
        $shell.Runspace = $space
        [void]$shell.AddScript($script, $true)
        $said, $printed, $trace = '', @(), ''
        try { $printed = @($shell.Invoke() | ForEach-Object { "$_" }) }
        catch { $said = $_.Exception.GetBaseException().Message; $trace = "$($_.Exception.InnerException.ErrorRecord.ScriptStackTrace)" }
        $errors = @($shell.Streams.Error | ForEach-Object { "$_" })
        $shell.Dispose()
        [Console]::SetOut($console)
        [Console]::SetError($stderr)
        $shown += @{ failed = [bool]$said; said = $said; trace = $trace; printed = $printed; out = "$written"; err = "$wrong"; errors = $errors }
    }
    $console.WriteLine((ConvertTo-Json -Compress -Depth 5 -InputObject @($shown)))
}
$space.Dispose()
