# SPDX-License-Identifier: MIT
# What the real parser makes of each text of the file that is named: one line of JSON with what the rules look at.
param([string] $Texts)
$ErrorActionPreference = 'Stop'

function Find-All($tree, [type] $type) { $tree.FindAll({ $args[0] -is $type }.GetNewClosure(), $true) }

function Find-Function($node) {
    # The function around a node, nothing outside one.
    while ($node -and $node -isnot [Management.Automation.Language.FunctionDefinitionAst]) { $node = $node.Parent }
    $node
}

foreach ($text in [IO.File]::ReadAllText($Texts) | ConvertFrom-Json) {
    $tokens = $errors = $null
    $tree = [Management.Automation.Language.Parser]::ParseInput($text, [ref]$tokens, [ref]$errors)
    $new = @()
    if (Find-All $tree ([Management.Automation.Language.TernaryExpressionAst])) { $new += '?:' }
    if (Find-All $tree ([Management.Automation.Language.PipelineChainAst])) { $new += '&& or ||' }
    $new += @($tokens | Where-Object { "$($_.Kind)" -in 'QuestionQuestion', 'QuestionQuestionEquals', 'QuestionDot', 'QuestionLBracket' } | ForEach-Object { $_.Text })
    if (Find-All $tree ([Management.Automation.Language.PipelineBaseAst]) | Where-Object { $_.Background }) { $new += '&' }
    $new += @($tokens | Where-Object { "$($_.Kind)" -eq 'Number' -and $_.Text -match '^[-+]?(0b|.*[0-9](u|y|n|us|uy|s)l?$)' -and $_.Text -notmatch '^0x' } | ForEach-Object { $_.Text })
    $new += @($tokens | Where-Object { "$($_.Kind)" -in 'StringExpandable', 'HereStringExpandable' -and $_.Text -match '`(u\{|e)' } | ForEach-Object { $_.Text })
    $new += @(Find-All $tree ([Management.Automation.Language.BinaryExpressionAst]) | Where-Object { "$($_.Operator)" -in 'Ireplace', 'Creplace' -and (Find-All $_.Right ([Management.Automation.Language.ScriptBlockExpressionAst])) } | ForEach-Object { '-replace { }' })
    $new += @($tokens | Where-Object { $_.Text -eq 'clean' -and "$($_.TokenFlags)" -match 'Keyword' } | ForEach-Object { 'clean { }' })
    $functions = @(Find-All $tree ([Management.Automation.Language.FunctionDefinitionAst]))
    $commands = @(Find-All $tree ([Management.Automation.Language.CommandAst]) | ForEach-Object {
        $name = $_.GetCommandName()
        $rest = @($_.CommandElements | Select-Object -Skip 1)
        $parameters = @($rest | Where-Object { $_ -is [Management.Automation.Language.CommandParameterAst] })
        $inside = Find-Function $_
        $first = if ($inside) { @($inside.Body.EndBlock.Statements)[0].Extent.Text } else { '' }
        $piped = $_.Parent -is [Management.Automation.Language.PipelineAst] -and $_.Parent.PipelineElements.IndexOf($_) -gt 0
        @{
            name = "$name"
            line = $_.Extent.StartLineNumber
            parameters = @($parameters | ForEach-Object { $_.ParameterName })
            switches = @($parameters | Where-Object { $_.Argument } | ForEach-Object { "$($_.ParameterName):$($_.Argument.Extent.Text)" })
            elements = @($rest | ForEach-Object { if ($_ -is [Management.Automation.Language.CommandParameterAst]) { "-$($_.ParameterName)$(if ($_.Argument) { ':' })" } else { '' } })
            splatted = [bool]@($rest | Where-Object { $_ -is [Management.Automation.Language.VariableExpressionAst] -and $_.Splatted })
            piped = $piped
            merged = [bool]@($_.Redirections | Where-Object { $_ -is [Management.Automation.Language.MergingRedirectionAst] })
            first = $first
        }
    })
    $statics = @(Find-All $tree ([Management.Automation.Language.MemberExpressionAst]) | Where-Object { $_.Static -and $_.Expression -is [Management.Automation.Language.TypeExpressionAst] } | ForEach-Object { "$($_.Expression.TypeName.FullName)::$($_.Member.Extent.Text)" })
    # [string](...) of a pipeline that gives nothing is no text but $null.
    $casts = @(Find-All $tree ([Management.Automation.Language.ConvertExpressionAst]) | Where-Object { $_.Type.TypeName.Name -eq 'string' -and $_.Child -is [Management.Automation.Language.ParenExpressionAst] -and (Find-All $_.Child ([Management.Automation.Language.CommandAst])) } | ForEach-Object { $_.Extent.Text })
    $inputs = @(Find-All $tree ([Management.Automation.Language.VariableExpressionAst]) | Where-Object { $_.VariablePath.UserPath -eq 'input' } | ForEach-Object {
        $node = $_.Parent
        while ($node -and $node -isnot [Management.Automation.Language.ScriptBlockExpressionAst] -and $node -isnot [Management.Automation.Language.FunctionDefinitionAst]) { $node = $node.Parent }
        -not $node
    })
    $told = @{
        errors = @($errors | ForEach-Object { "$($_.Message) (line $($_.Extent.StartLineNumber))" })
        new = $new
        commands = $commands
        functions = @($functions | ForEach-Object { @{ name = $_.Name; text = $_.Extent.Text } })
        statics = $statics
        casts = $casts
        inputs = $inputs
    }
    [Console]::Out.WriteLine((ConvertTo-Json -Compress -Depth 6 -InputObject $told))
}
