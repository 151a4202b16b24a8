"""The builds: what each is compiled with, and a copy of the source tree, so that the ordinary build stays as it is."""

import filecmp
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "sanitize"

COPIED = (
    "pyproject.toml",
    "setup.py",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs",
    "scripts",
    "zramfs",
    "tests",
)
BUILT = {".so", ".pyc"}

_SWITCHED_OFF = re.compile(r"\b(boundscheck|wraparound|initializedcheck)(?:=|\()False\b")


class BuildError(Exception):
    """The compiler does not take it; the message says where its own words are."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """One way to compile the compiled parts, and what a program that loads them must be started with."""

    name: str
    flags: tuple[str, ...]
    """For compiler and linker, after those that Python was built with."""
    runtime: str | None = None
    """The sanitizer's library, which must be loaded before all others."""
    options: dict[str, str] = field(default_factory=dict)
    """The environment; {report} is the beginning of the reports' names, {suppressions} their folder."""
    prefix: tuple[str, ...] = ()
    checked: bool = False
    """Whether Cython's checks are on that files switch off in their headers."""

    @property
    def folder(self) -> Path:
        """Return the copy of the source tree."""
        return FOLDER / self.name

    @property
    def reports(self) -> Path:
        """Return the folder that the sanitizers write to, a file a process."""
        return FOLDER / f"{self.name}.reports"

    def environment(self) -> dict[str, str]:
        """Return what a program that loads the compiled parts is started with."""
        names = {"report": self.reports / "report", "suppressions": Path(__file__).with_name("suppressions")}
        environment = os.environ | {
            "PYTHONPATH": str(self.folder),
            "PYTHONMALLOC": "malloc",
            "CFLAGS": " ".join(self.flags),
        }
        environment |= {name: value.format(**names) for name, value in self.options.items()}
        if self.runtime is not None:
            # With C++'s library, or AddressSanitizer does not find what C++ throws by, as matplotlib does.
            environment["LD_PRELOAD"] = f"{library(self.runtime)} {library('libstdc++.so')}"
        return environment

    def make(self) -> None:
        """Bring the copy up to date and compile what has changed; raises BuildError."""
        self._copy()
        self.reports.mkdir(parents=True, exist_ok=True)
        flags = " ".join(self.flags)
        log = FOLDER / f"{self.name}.build.log"
        stamp = FOLDER / f"{self.name}.flags"
        command = [sys.executable, "setup.py", "build_ext", "--inplace"]
        if not stamp.exists() or stamp.read_text() != flags:
            command.append("--force")
        with log.open("w") as output:
            result = subprocess.run(
                [*command, "--parallel", str(os.cpu_count() or 1), "--cython-line-directives"],
                cwd=self.folder,
                env=os.environ | {"CFLAGS": flags, "LDFLAGS": flags},
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if result.returncode != 0:
            raise BuildError(f"{self.name}: does not compile, see {log}")
        stamp.write_text(flags)

    def _copy(self) -> None:
        wanted = set(sources())
        for name in wanted:
            self._copy_file(name)
        for name in set(sources(self.folder)) - wanted:
            (self.folder / name).unlink()

    def _copy_file(self, name: Path) -> None:
        """Copy a file that differs; what is as it was keeps its time, and is not compiled again."""
        source, copy = ROOT / name, self.folder / name
        text = with_checks(source.read_text()) if self.checked and source.suffix in {".pyx", ".pxd"} else None
        if copy.exists() and (filecmp.cmp(source, copy, shallow=False) if text is None else copy.read_text() == text):
            return
        copy.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            shutil.copyfile(source, copy)
        else:
            copy.write_text(text)


def sources(root: Path = ROOT) -> Iterator[Path]:
    """Return the files to copy, relative to `root`: all but those that the build makes."""
    for name in COPIED:
        top = root / name
        for path in top.rglob("*") if top.is_dir() else [top]:
            if path.is_file() and path.suffix not in BUILT:
                yield path.relative_to(root)


def with_checks(text: str) -> str:
    """Return Cython code with the checks on that its header or a decorator switches off.

    A header stands above what the command line says, so the copy's headers are changed. `nonecheck` stays off:
    it forbids the attributes of `self` without the GIL.
    """
    return _SWITCHED_OFF.sub(lambda found: found[0].replace("False", "True"), text)


def library(name: str) -> str:
    """Return the path of a library of gcc's; raises BuildError where it has none."""
    path = subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip()
    if not Path(path).is_absolute():
        raise BuildError(f"gcc has no {name}: install Debian's package of that name, or libgcc-12-dev")
    return path


# -fwrapv as Python has it: signed overflow is defined, and UBSan has nothing to say of it.
COMMON = ("-O1", "-g1", "-Wall", "-fwrapv", "-fno-omit-frame-pointer", "-UNDEBUG")

THREAD = Build(
    name="thread",
    flags=(*COMMON, "-fsanitize=thread"),
    runtime="libtsan.so",
    options={
        "TSAN_OPTIONS": (
            "suppressions={suppressions}/thread.txt:log_path={report}:exitcode=0:"
            "report_thread_leaks=0:report_signal_unsafe=0:history_size=4"
        )
    },
    # Its runtime wants mappings where it expects them.
    prefix=("setarch", "-R"),
)

ADDRESS = Build(
    name="address",
    flags=(*COMMON, "-fsanitize=address"),
    runtime="libasan.so",
    options={
        # CPython keeps much until the end of the process.
        "ASAN_OPTIONS": "detect_leaks=0:log_path={report}:suppressions={suppressions}/address.txt",
    },
)

# UBSan is here and not beside AddressSanitizer, where it knows no log_path: what a daemon does wrong would be lost.
DEBUG = Build(
    name="debug",
    flags=(*COMMON, "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-fsanitize=undefined"),
    options={
        "UBSAN_OPTIONS": "print_stacktrace=1:log_path={report}:suppressions={suppressions}/undefined.txt",
    },
    checked=True,
)

BUILDS = {build.name: build for build in (THREAD, ADDRESS, DEBUG)}
