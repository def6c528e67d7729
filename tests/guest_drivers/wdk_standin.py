# SPDX-License-Identifier: MIT
"""Stands in for ``build.cmd`` in a guest: sees that the sources are there, and leaves what the WDK would leave.

``python wdk_standin.py FOLDER DRIVER MODE``: DRIVER is the image to give out as built; MODE is ``whole``, ``bare`` (an
older or newer WDK, without the logs that may be missing), ``broken`` (does not compile) or ``lost`` (says that all is
well, and leaves nothing).
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path


def main(folder: Path, driver: Path, mode: str) -> int:
    """Do as the script would; exit codes are MSBuild's."""
    project = (folder / "wdk" / "hpnotify.vcxproj").read_text()
    named = re.findall(r'(?:ClCompile|ClInclude|Inf) Include="([^"]+)"', project)
    named += re.findall(r"<AdditionalDependencies>\$\(ProjectDir\)([^;]+);", project)
    absent = [name for name in named if not (folder / "wdk" / name.replace("\\", "/")).is_file()]
    if absent or not (folder / "wdk" / "build.cmd").is_file():
        print(f"MSB1009: {absent}")
        return 1
    if mode == "lost":
        return 0
    release = folder / "wdk" / "build" / "Release"
    (release / "objects").mkdir(parents=True)
    (release / "hpnotify").mkdir()
    (release / "build.log").write_text("log\n")
    if mode == "broken":
        print("..\\src\\sync.c(1): error C2061: syntax error")
        return 1
    shutil.copy(driver, release / "hpnotify" / "hpnotify.sys")
    shutil.copy(folder / "wdk" / "hpnotify.inf", release / "hpnotify")
    (release / "hpnotify.pdb").write_bytes(b"Microsoft C/C++ MSF 7.00\r\n")
    if mode == "whole":
        (release / "hpnotify" / "hpnotify.cat").write_bytes(b"catalog")
        (release / "hpnotify.cer").write_bytes(b"certificate")
        (release / "versions.txt").write_text("a Compiler Version 19.38 for x64\n\na Linker Version 14.38\n")
        (release / "objects" / "vc.nativecodeanalysis.all.xml").write_text("<DEFECTS/>")
        (folder / "wdk" / "sdv").mkdir()
        (folder / "wdk" / "sdv" / "SDV.DVL.xml").write_text("<SDV/>")
        (folder / "wdk" / "hpnotify.DVL.XML").write_text("<DVL/>")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
