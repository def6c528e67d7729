# SPDX-License-Identifier: MIT
# Runs Work unless this command has been run before, and prints what it printed the first time.
param(
    [string]$Directory,
    [string]$Command,
    [scriptblock]$Work
)
[void][IO.Directory]::CreateDirectory($Directory)
$answer = "$Directory\$Command.json"
# CreateNew fails if the file exists, so only one of any number of attempts succeeds.
try { [IO.File]::Open("$Directory\$Command.claim", 'CreateNew').Close(); $first = $true } catch [IO.IOException] { $first = $false }
if ($first) {
    try { $said = (& $Work) -join '' } catch { $said = ConvertTo-Json -Compress -InputObject @{ failed = [string]$_ } }
    [IO.File]::WriteAllText("$answer.part", $said)
    [IO.File]::Move("$answer.part", $answer)
}
$patience = [Diagnostics.Stopwatch]::StartNew()
while (-not [IO.File]::Exists($answer)) {
    if ($patience.Elapsed.TotalSeconds -gt 120) { throw "command $Command began and did not end within 120 s" }
    Start-Sleep -Milliseconds 200
}
[IO.File]::ReadAllText($answer)
