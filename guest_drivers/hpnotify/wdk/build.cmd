@echo off
rem SPDX-License-Identifier: MIT
rem Builds hpnotify.sys and its driver package with the Enterprise WDK: build.cmd EWDK [Release or Debug] [analyze or verify]
rem EWDK is the drive or folder of the mounted ISO, or auto for the first drive that has it. The package is left in
rem build\CONFIGURATION\hpnotify. analyze runs Code Analysis; verify also runs Static Driver Verifier and writes the Driver
rem Verification Log.
setlocal

if "%~1"=="" (
    echo Usage: build.cmd EWDK [Release or Debug] [analyze or verify], for example: build.cmd E: Release analyze
    exit /b 64
)
set "EWDK=%~1"
if /i "%EWDK%"=="auto" (
    set "EWDK="
    for %%D in (Z Y X W V U T S R Q P O N M L K J I H G F E D) do if exist "%%D:\BuildEnv\SetupBuildEnv.cmd" set "EWDK=%%D:"
)
if not exist "%EWDK%\BuildEnv\SetupBuildEnv.cmd" (
    echo There is no BuildEnv\SetupBuildEnv.cmd in %~1. Mount the ISO of the Enterprise WDK and give its drive.
    exit /b 69
)

set "CONFIGURATION=%~2"
if "%CONFIGURATION%"=="" set "CONFIGURATION=Release"
set "ANALYZE=False"
if /i "%~3"=="analyze" set "ANALYZE=True"
if /i "%~3"=="verify" set "ANALYZE=True"
set "PROJECT=%~dp0hpnotify.vcxproj"
set "OUT=%~dp0build\%CONFIGURATION%"
if not exist "%OUT%" mkdir "%OUT%"

call "%EWDK%\BuildEnv\SetupBuildEnv.cmd" amd64
@echo off
(cl 2>&1 & link) > "%OUT%\versions.txt"

rem First, because it builds anew, which removes the log of Code Analysis. Newer WDKs are without it, which is no failure.
if /i "%~3"=="verify" msbuild "%PROJECT%" /nologo /t:sdv /p:Inputs="/check:*" /p:Configuration=Release /p:Platform=x64

msbuild "%PROJECT%" /nologo /m /t:Rebuild /p:Configuration=%CONFIGURATION% /p:Platform=x64 /p:RunCodeAnalysisOnce=%ANALYZE% "/flp:LogFile=%OUT%\build.log;Verbosity=normal"
set "RESULT=%ERRORLEVEL%"
if not "%RESULT%"=="0" exit /b %RESULT%

if /i "%~3"=="verify" msbuild "%PROJECT%" /nologo /t:dvl /p:Configuration=Release /p:Platform=x64
exit /b 0
