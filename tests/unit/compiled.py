"""Modules in Cython that only tests have: doors to compiled parts that Python does not reach.

Nothing of them is in `zramfs/`, which has no functions for tests alone.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SHARED: Final = "zramfs._cyutility"
"""The module of Cython's own code: without it C's compiler takes a third longer for each module of doors."""


def compiled(source: Path, factory: pytest.TempPathFactory) -> ModuleType:
    """Compile a `.pyx` beside a test, once for all workers, and import it; skip where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled" / source.parent.name
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"{source.stem}.so"
    with library.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not library.exists():
            _compile(compiler, source, library)
    spec = importlib.util.spec_from_file_location(source.stem, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compile(compiler: str, source: Path, library: Path) -> None:
    translated, made = library.with_suffix(".c"), library.with_suffix(".new")
    cython = [sys.executable, "-m", "cython", "-3", "-I", ROOT, "--shared", SHARED]
    subprocess.run([*cython, "-o", translated, source], check=True)
    folders = [f"-I{folder}" for folder in (sysconfig.get_path("include"), ROOT / "zramfs/receive")]
    flags = ["-O0", *os.environ.get("CFLAGS", "").split(), *folders]
    subprocess.run([compiler, "-shared", "-fPIC", *flags, "-o", made, translated], check=True)
    made.rename(library)
