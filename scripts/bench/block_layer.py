"""The block layer without FUSE: `block_layer.py write|read THREADS SECONDS` prints requests a second as JSON.

Each thread has a CPU, a channel and pages of its own, and writes and reads 4K at a time as a receiver would.
"""

import importlib.util
import json
import os
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from cells import MIB
from process import BenchError, root_of_project, run

from zramfs.measure.pages import compressible_pages
from zramfs.units import PAGE_SIZE

PAGES_OF_A_THREAD = 128 * MIB // PAGE_SIZE
DATA_PAGES = 256
BUILD_S = 300.0
START_S = 0.1
NEVER = 2**63 - 1
CPUS = os.sched_getaffinity(0)

BUILD = """
import sys
from pathlib import Path
from Cython.Build import cythonize
from setuptools import Extension, setup
root, source, folder = sys.argv[1:]
extension = Extension("submitter", [source])
modules = cythonize([extension], include_path=[root], build_dir=folder, quiet=True)
setup(ext_modules=modules, script_args=["--quiet", "build_ext", "--build-lib", folder, "--build-temp", folder])
"""


def main(direction: str, threads: int, seconds: float) -> None:
    """Write every page once, then measure."""
    submitter = compiled_submitter()
    disk = submitter.new_disk(threads, threads * PAGES_OF_A_THREAD)

    def submit(number: int, *, writes: bool, begin_ns: int, end_ns: int, most: int) -> int:
        cpus = sorted(CPUS)
        os.sched_setaffinity(0, {cpus[number % len(cpus)]})
        pages = (bytearray(compressible_pages(DATA_PAGES, seed=number)), number * PAGES_OF_A_THREAD, PAGES_OF_A_THREAD)
        done: int = submitter.submit(disk, 1 + number, writes, *pages, begin_ns, end_ns, most)
        return done

    def submit_all(**options: Any) -> int:
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(lambda number: submit(number, **options), range(threads)))

    submit_all(writes=True, begin_ns=0, end_ns=NEVER, most=PAGES_OF_A_THREAD)
    begin_ns = time.monotonic_ns() + round(START_S * 1e9)
    end_ns = begin_ns + round(seconds * 1e9)
    began_s = time.process_time()
    requests = submit_all(writes=direction == "write", begin_ns=begin_ns, end_ns=end_ns, most=NEVER)
    cpu_s = time.process_time() - began_s
    # What a request takes of a CPU, locks that it spins for included, also where others take CPUs away.
    print(json.dumps({"requests_s": requests / seconds, "cpu_us": cpu_s / requests * 1e6}))


def compiled_submitter() -> ModuleType:
    """Return the module `submitter`, compiled against the block layer that is there."""
    root = root_of_project()
    folder = root / "build" / "bench"
    source = root / "scripts/bench/submitter.pyx"
    module = folder / f"submitter{sysconfig.get_config_var('EXT_SUFFIX')}"
    newest = max(path.stat().st_mtime for path in (source, *(root / "zramfs").rglob("*.pxd")))
    if not module.exists() or module.stat().st_mtime < newest:
        folder.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-c", BUILD, str(root), str(source), str(folder)], timeout_s=BUILD_S)
    spec = importlib.util.spec_from_file_location("submitter", module)
    if spec is None or spec.loader is None:
        raise BenchError(f"{module} is no module")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
