# SPDX-License-Identifier: MIT
"""Stands in for Windows behind the WS-Management double: knows our scripts and ``hpnctl``, and remembers what was done.

``powershell.exe``, ``hpnctl.exe`` and ``shutdown.exe`` all lead here. A script must be, letter for letter, one that the
harness has, with values of its parameters' types; then what it is for is done to a small model of Windows, kept in
``windows.json``. What PowerShell and Windows would make of the script is not shown by any of this.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
ROOT = HERE.parents[3]
DISK = Path(os.environ.get("SCRIPTED_WINDOWS", "."))
MODEL = DISK / "windows.json"
SCRIPTS = ROOT / "harness" / "guest" / "windows" / "scripts"

FACTS: dict[str, Any] = {
    "caption": "Microsoft Windows Server 2025 Standard Evaluation",
    "build": "26100",
    "product_type": 3,
    "sku": 79,
    "sockets": 2,
    "hypervisor_present": True,
    "vbs": 0,
    "security_services": [],
    "start_options": " TESTSIGNING  NOEXECUTE=OPTOUT  HYPERVISORLAUNCHTYPE=OFF",
    "secure_boot": 0,
    "auto_reboot": 0,
    "license": 1,
    "grace_minutes": 200000,
    "containers": [{"device": "ACPI\\ACPI0010\\0", "name": "Generic Bus", "service": "", "problem": 0}],
    "processors": [
        {
            "device": f"ACPI\\GENUINEINTEL_-_INTEL64_FAMILY_6\\_{n}",
            "name": "Intel",
            "service": "intelppm",
            "problem": 0,
        }
        for n in range(2)
    ],
    "memory_devices": [],
    "virtio": [],
    "drivers": ["storahci", "e1i68x64"],
    "networks": ["Private"],
    "adapters": [{"dhcp": "10.0.2.2", "addresses": ["10.0.2.15"], "gateways": [], "dns": []}],
}
"""What a Windows says that has everything it needs."""

FRESH: dict[str, Any] = {
    "caption": "Microsoft Windows Server 2025 Standard Evaluation",
    "build": "26100",
    "boots": 1,
    "processors": 2,
    "memory": 4 << 30,
    "services": {},
    "ring": [],
    "bcd": [],
    "verifier": [],
    "trusted": [],
    "calls": [],
    "answers": {},
    "exit": {},
    "facts": FACTS,
    "trace": True,
    "monitor": "",
    "minidumps": {},
    "ahead": 0.0,
    "sessions": {},
    "log_head": "",
    "log_closed": "",
    "buffers": [],
    "logged": {},
    "now": 1 << 60,
    "utc": 0,
}

EPOCH_TICKS = 621_355_968_000_000_000
"""1970 in .NET's ticks."""


def standin() -> Any:
    """The stand-in for the transports' own operations."""
    path = HERE.parents[2] / "transport" / "powershell_standin.py"
    spec = importlib.util.spec_from_file_location("powershell_standin", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def host(path: str) -> Path:
    """Where a path of the guest lies here."""
    return DISK / path.replace("\\", "/")


def script_text(name: str) -> str:
    """The script as it is sent: without comments."""
    lines = (SCRIPTS / f"{name}.ps1").read_text(encoding="utf-8").splitlines()
    return "\n".join(x for x in lines if x.strip() and not x.lstrip().startswith("#")) + "\n"


LITERAL = re.compile(
    r" -([A-Z][A-Za-z]*) (@\((?:'(?:[^']|'')*'(?:, )?)*\)|'(?:[^']|'')*'|\$true|\$false|-?[0-9]+)"
)


def plain(text: str) -> str:
    return text[1:-1].replace("''", "'")


def value(literal: str) -> Any:
    if literal.startswith("@"):
        return [plain(each) for each in re.findall(r"'(?:[^']|'')*'", literal)]
    if literal.startswith("'"):
        return plain(literal)
    return {"$true": True, "$false": False}[literal] if literal.startswith("$") else int(literal)


def call(text: str, name: str) -> dict[str, Any]:
    """The values that a script is called with. Fails if the text is not that script."""
    head = "& {\n" + script_text(name) + "}"
    assert text.startswith(head), f"not the script {name}: {text[:200]!r}"
    words = text[len(head) :]
    values = {key: value(literal) for key, literal in LITERAL.findall(words)}
    assert "" == LITERAL.sub("", words).strip(), words
    return values


class Windows:
    """The model, and what each script does to it."""

    def __init__(self) -> None:
        self.model = {**FRESH, **(json.loads(MODEL.read_text()) if MODEL.exists() else {})}

    def save(self) -> None:
        draft = MODEL.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(self.model))
        draft.replace(MODEL)

    def run(self, name: str, values: dict[str, Any]) -> str:
        self.model["calls"].append([name, values])
        code = self.model["exit"].get(name)
        if code:
            self.save()
            sys.stderr.write(f"{name} broke off\n")
            sys.exit(code)
        told = self.model["answers"].get(name)
        answer = told if told is not None else getattr(self, "do_" + name.replace("-", "_"))(**values)
        self.save()
        return json.dumps(answer)

    def do_ready(self) -> Any:
        started = 638_000_000_000_000_000 + self.model["boots"]
        # .NET's ticks: 100 ns since the year 1.
        now = int((time.time() + self.model["ahead"]) * 10_000_000) + 621_355_968_000_000_000
        return {
            "caption": self.model["caption"],
            "build": self.model["build"],
            "started": started,
            "now": now,
        }

    def do_clock_and_lease(self, Expected: int, Tolerance: int, Renew: bool) -> Any:  # noqa: N803
        found = self.model["utc"] or EPOCH_TICKS + time.time_ns() // 100
        away = Tolerance > 0 and abs(found - Expected) > Tolerance * 10_000_000
        self.model["utc"] = Expected if away else self.model["utc"]
        lease = {"address": "10.0.2.15", "dhcp": True, "expires": found + 86_400 * 10_000_000}
        now = Expected if away else found
        return {"found": found, "now": now, "set": away, "code": 0, "said": "", "leases": [lease]}

    def do_folder(self, Path: str) -> Any:  # noqa: N803
        host(Path).mkdir(parents=True, exist_ok=True)
        return {"state": "made"}

    def do_trust(self, Path: str) -> Any:  # noqa: N803
        assert host(Path).is_file()
        self.model["trusted"].append(Path)
        return {"state": "trusted"}

    def do_driver_state(self, Driver: str) -> Any:  # noqa: N803
        found = self.model["services"].get(Driver, {})
        return {"state": found.get("state", ""), "path": found.get("path", "")}

    def do_driver_load(self, Driver: str, Path: str, Names: list[str], Values: list[str]) -> Any:  # noqa: N803
        if self.model["services"].get(Driver, {}).get("state") == "Running":
            return {"step": "create", "code": 1073, "said": "it runs already", "state": "Running"}
        if not host(Path).is_file():
            return {"step": "start", "code": 2, "said": "[SC] StartService FAILED 2:", "state": ""}
        parameters = dict(zip(Names, map(int, Values), strict=True))
        self.model["services"][Driver] = {"state": "Running", "path": Path, "parameters": parameters}
        self.told("start")
        return {"step": "start", "code": 0, "said": "SERVICE_NAME: " + Driver, "state": "Running"}

    def do_driver_unload(self, Driver: str, Tool: str) -> Any:  # noqa: N803
        del self.model["services"][Driver]
        return {"step": "delete", "code": 0, "said": "[SC] DeleteService SUCCESS", "state": ""}

    def do_ring(self, Driver: str, Tool: str, Path: str) -> Any:  # noqa: N803
        lines, self.model["ring"] = self.model["ring"], []
        host(Path).parent.mkdir(parents=True, exist_ok=True)
        with host(Path).open("a") as file:
            file.writelines(line + "\n" for line in lines)
        return {"step": "events", "code": 0, "said": f"{len(lines)} records"}

    def do_export(self, Directory: str, Most: int) -> Any:  # noqa: N803
        folder = host(Directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "System.evtx").write_bytes(b"ElfFile\0" + bytes(4088))
        (folder / "setupapi.dev.log").write_text("[Device Install Log]\n")
        dumps = host("C:\\Windows\\Minidump")
        dumps.mkdir(parents=True, exist_ok=True)
        for name, text in self.model["minidumps"].items():
            (dumps / name).write_text(text)
        return {"code": 0, "said": "", "minidumps": len(self.model["minidumps"]), "dump": 0}

    def do_verifier(self, Arguments: list[str]) -> Any:  # noqa: N803
        self.model["verifier"] = Arguments
        return {"step": "verifier", "code": 2, "said": "The system reboot is required"}

    def do_boot_options(self, Lines: list[str]) -> Any:  # noqa: N803
        self.model["bcd"] += Lines
        return {"step": Lines[-1], "code": 0, "said": "The operation completed successfully."}

    def do_trace_start(self, Session: str, Provider: str, Flags: str, Path: str, Buffers: int) -> Any:  # noqa: N803
        self.model["trace"] = True
        self.model["sessions"][Session] = {"path": Path, "provider": Provider}
        host(Path).parent.mkdir(parents=True, exist_ok=True)
        host(Path).write_bytes(bytes.fromhex(self.model["log_head"]))
        return {"step": "create", "code": 0, "said": "The command completed successfully."}

    def do_trace_tail(self, Session: str, Tool: str, Flush: bool, Path: str, Offset: int, Most: int) -> Any:  # noqa: N803
        now = self.model["now"]
        code = 0 if Session in self.model["sessions"] else 1
        if Flush and not code:
            # What the driver logged is in the session's buffers until they are written.
            with host(Path).open("ab") as file:
                file.write(bytes.fromhex("".join(self.model["buffers"])))
            self.model["buffers"] = []
        data = host(Path).read_bytes()
        packed = gzip.compress(data[Offset : Offset + Most])
        return {
            "code": code if Flush else 0,
            "said": "",
            "now": now,
            "size": len(data),
            "data": base64.b64encode(packed).decode(),
        }

    def do_service_start(self, Driver: str) -> Any:  # noqa: N803
        found = self.model["services"].get(Driver)
        if found is None or found["state"] != "Stopped":
            code = 1060 if found is None else 1056
            return {"step": "find", "code": code, "said": "no", "state": (found or {"state": ""})["state"]}
        found["state"] = "Running"
        self.told("start")
        return {"step": "start", "code": 0, "said": "SERVICE_NAME: " + Driver, "state": "Running"}

    def do_service_stop(self, Driver: str, Delete: bool) -> Any:  # noqa: N803
        self.told("stop")
        if Delete:
            del self.model["services"][Driver]
        else:
            self.model["services"][Driver]["state"] = "Stopped"
        return {"step": "delete" if Delete else "stop", "code": 0, "said": "SUCCESS", "state": ""}

    def told(self, what: str) -> None:
        """Have the driver log what a test says that it logs then."""
        self.model["buffers"] += self.model["logged"].pop(what, [])

    def do_pnp_install(self, Inf: str, Service: str) -> Any:  # noqa: N803
        self.model["services"][Service] = {"state": "Running", "path": Inf}
        device = {"device": "PCI\\VEN_1234&DEV_11E8\\3&1", "problem": 0}
        return {"code": 0, "said": "Driver package added successfully.", "devices": [device]}

    def do_pnp_remove(self, Inf: str, Service: str) -> Any:  # noqa: N803
        del self.model["services"][Service]
        return {"code": 0, "said": "Driver package deleted successfully.", "devices": []}

    def do_preflight(self) -> Any:
        return self.model["facts"]

    def hpnctl(self, words: list[str]) -> int:
        self.model["calls"].append(["hpnctl", words])
        device = ""
        if words[:1] == ["--device"]:
            device, words = words[1], words[2:]
        self.save()
        if device and device not in self.model["services"]:
            sys.stderr.write(f"hpnctl: cannot open the device of {device}: File not found. (error 2)\r\n")
            return 69
        if words[0] == "machine":
            seen = {"processors": self.model["processors"], "maximum": 8, "memory": self.model["memory"]}
            groups = [{"active": self.model["processors"], "maximum": 8}]
            told = {"groups": groups, "hypervisor": 1, "utc": 134_000_000_000_000_000, "flags": 0x20}
            print(json.dumps({**seen, **told, **self.model.get("view", {})}))
        elif words[0] == "trace":
            if words[1] not in self.model["sessions"] and not self.model["trace"]:
                sys.stderr.write("hpnctl: the trace session does not obey: (error 4201)\r\n")
                return 1
            self.model["trace"] = "--stop" not in words
            session = self.model["sessions"].pop(words[1], None) if "--stop" in words else None
            if session is not None:
                with host(session["path"]).open("r+b") as file:
                    # A session that ends writes its first buffer anew, and its last ones.
                    file.write(bytes.fromhex(self.model["log_closed"]))
                    file.seek(0, os.SEEK_END)
                    file.write(bytes.fromhex("".join(self.model["buffers"])))
                self.model["buffers"] = []
            self.save()
            lost = self.model.get("lost", 0)
            print(json.dumps({"events_lost": lost, "buffers_lost": 0, "buffers_written": 3, "buffers": 64}))
        return 0

    def shutdown(self, words: list[str]) -> int:
        self.model["calls"].append(["shutdown", words])
        self.model["boots"] += 1
        self.model["services"] = {}
        self.save()
        if self.model["monitor"]:
            with socket.socket(socket.AF_UNIX) as monitor:
                monitor.connect(self.model["monitor"])
                monitor.sendall(b"system_reset\n")
                time.sleep(0.2)
        return 0


def powershell(arguments: list[str]) -> int:
    module = standin()
    if "-EncodedCommand" in arguments:
        text = base64.b64decode(arguments[arguments.index("-EncodedCommand") + 1]).decode("utf-16-le")
    else:
        raw = host(arguments[arguments.index("-File") + 1]).read_bytes().decode("utf-8-sig")
        text = raw.replace("\r\n", "\n")
    _, mark, preamble = module.bodies()
    text = text.removeprefix(preamble)
    if not text.startswith(mark + "windows."):
        os.chdir(DISK)
        return int(module.main(arguments))
    name, _, rest = text.removeprefix(mark + "windows.").partition("\n")
    rest = rest.rstrip("\n")
    once = "& {\n" + script_text("once") + "}"
    if not rest.startswith(once):
        print(Windows().run(name, call(rest, name)))
        return 0
    found = re.fullmatch(
        r" -Directory ('(?:[^']|'')*') -Command '([0-9a-z]+)' -Work \{ (.*) \}", rest[len(once) :], re.DOTALL
    )
    assert found is not None, rest[len(once) :]
    folder = host(plain(found[1]))
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / f"{found[2]}.json"
    try:
        (folder / f"{found[2]}.claim").open("x").close()
    except FileExistsError:
        while not answer.exists():
            time.sleep(0.02)
    else:
        draft = answer.with_suffix(".part")
        draft.write_text(Windows().run(name, call(found[3], name)))
        draft.replace(answer)
    print(answer.read_text())
    return 0


def main() -> int:
    """Do what the program of this name was asked to."""
    program, *arguments = sys.argv[1:]
    if program == "powershell.exe":
        return powershell(arguments)
    if program == "hpnctl.exe":
        return Windows().hpnctl(arguments)
    return Windows().shutdown(arguments)


if __name__ == "__main__":
    sys.exit(main())
