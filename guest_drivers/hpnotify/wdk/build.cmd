@echo off
rem SPDX-License-Identifier: MIT
rem Builds hpnotify.sys and its driver package with the Enterprise WDK: build.cmd EWDK [Release or Debug] [analyze]
rem EWDK is the drive or folder of the mounted ISO. The package is left in build\CONFIGURATION\hpnotify.
setlocal

if "%~1"=="" (
    echo Usage: build.cmd EWDK [Release or Debug] [analyze], for example: build.cmd E: Release analyze
    exit /b 64
)
if not exist "%~1\BuildEnv\SetupBuildEnv.cmd" (
    echo There is no %~1\BuildEnv\SetupBuildEnv.cmd. Mount the ISO of the Enterprise WDK and give its drive.
    exit /b 69
)

set "CONFIGURATION=%~2"
if "%CONFIGURATION%"=="" set "CONFIGURATION=Release"
set "ANALYZE=false"
if /i "%~3"=="analyze" set "ANALYZE=true"

call "%~1\BuildEnv\SetupBuildEnv.cmd"
msbuild "%~dp0hpnotify.vcxproj" /nologo /m /t:Rebuild /p:Configuration=%CONFIGURATION% /p:Platform=x64 /p:RunCodeAnalysis=%ANALYZE%
exit /b %ERRORLEVEL%
