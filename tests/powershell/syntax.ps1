# SPDX-License-Identifier: MIT
# What the real parser makes of each text of the file that is named: one line of JSON with what the rules look at.
param([string] $Texts)
$ErrorActionPreference = 'Stop'

# Takes every node. A script block in its place would be called for each of them.
$node = [Linq.Expressions.Expression]::Parameter([Management.Automation.Language.Ast])
$every = [Linq.Expressions.Expression]::Lambda([Func[Management.Automation.Language.Ast, bool]], [Linq.Expressions.Expression]::Constant($true), $node).Compile()

function Find-Kinds($tree) {
    # All nodes of a tree, by the names of their types.
    $kinds = @{}
    foreach ($node in $tree.FindAll($every, $true)) {
        $name = $node.GetType().Name
        if (-not $kinds.ContainsKey($name)) { $kinds[$name] = [Collections.ArrayList]@() }
        [void]$kinds[$name].Add($node)
    }
    $kinds
}

function Test-Within($tree, [type] $type) { [bool]$tree.Find({ $args[0] -is $type }.GetNewClosure(), $true) }

function Find-Function($node) {
    # The function around a node, nothing outside one.
    while ($node -and $node -isnot [Management.Automation.Language.FunctionDefinitionAst]) { $node = $node.Parent }
    $node
}

foreach ($text in [IO.File]::ReadAllText($Texts) | ConvertFrom-Json) {
    $tokens = $errors = $null
    $tree = [Management.Automation.Language.Parser]::ParseInput($text, [ref]$tokens, [ref]$errors)
    $kinds = Find-Kinds $tree
    $new = @()
    if ($kinds['TernaryExpressionAst']) { $new += '?:' }
    if ($kinds['PipelineChainAst']) { $new += '&& or ||' }
    # By their kinds, which takes one look at each token.
    $marks = @{ Number = @(); StringExpandable = @(); HereStringExpandable = @() }
    $newer = @()
    foreach ($token in $tokens) {
        $kind = [string]$token.Kind
        if ($marks.ContainsKey($kind)) { $marks[$kind] += $token.Text }
        elseif ($kind.StartsWith('Question')) { $newer += $token }
        elseif ($token.Text -eq 'clean' -and "$($token.TokenFlags)" -match 'Keyword') { $newer += $token }
    }
    $new += @($newer | Where-Object { "$($_.Kind)" -in 'QuestionQuestion', 'QuestionQuestionEquals', 'QuestionDot', 'QuestionLBracket' } | ForEach-Object { $_.Text })
    if (@($kinds['PipelineAst']) + @($kinds['PipelineChainAst']) | Where-Object { $_.Background }) { $new += '&' }
    $new += @($marks['Number'] | Where-Object { $_ -match '^[-+]?(0b|.*[0-9](u|y|n|us|uy|s)l?$)' -and $_ -notmatch '^0x' })
    $new += @($marks['StringExpandable'] + $marks['HereStringExpandable'] | Where-Object { $_ -match '`(u\{|e)' })
    $new += @($kinds['BinaryExpressionAst'] | Where-Object { "$($_.Operator)" -in 'Ireplace', 'Creplace' -and (Test-Within $_.Right ([Management.Automation.Language.ScriptBlockExpressionAst])) } | ForEach-Object { '-replace { }' })
    $new += @($newer | Where-Object { $_.Text -eq 'clean' } | ForEach-Object { 'clean { }' })
    $functions = @($kinds['FunctionDefinitionAst'] | Where-Object { $_ })
    $commands = @($kinds['CommandAst'] | Where-Object { $_ } | ForEach-Object {
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
    $statics = @(@($kinds['MemberExpressionAst']) + @($kinds['InvokeMemberExpressionAst']) | Where-Object { $_.Static -and $_.Expression -is [Management.Automation.Language.TypeExpressionAst] } | ForEach-Object { "$($_.Expression.TypeName.FullName)::$($_.Member.Extent.Text)" })
    # [string](...) of a pipeline that gives nothing is no text but $null.
    $casts = @($kinds['ConvertExpressionAst'] | Where-Object { $_.Type.TypeName.Name -eq 'string' -and $_.Child -is [Management.Automation.Language.ParenExpressionAst] -and (Test-Within $_.Child ([Management.Automation.Language.CommandAst])) } | ForEach-Object { $_.Extent.Text })
    $inputs = @($kinds['VariableExpressionAst'] | Where-Object { $_.VariablePath.UserPath -eq 'input' } | ForEach-Object {
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
