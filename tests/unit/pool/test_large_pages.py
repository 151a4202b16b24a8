"""The pool where the system's pages are larger than ours: its own tests, with such a system's madvise preloaded."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zramfs.pool.by_hand import discard, put
from zramfs.pool.zspool import ZsPool

SHIM = Path(__file__).with_name("large_pages.c")
PAGE = 4096
MIB = 1 << 20
SPARE = 4 * MIB

# Objects of all sizes come and go; none may change meanwhile, and their memory goes back with them.
HISTORY = """
import random
from zramfs.pool.by_hand import compact, discard, get, put
from zramfs.pool.zspool import ZsPool

def resident_mib():
    return int(open("/proc/self/status").read().partition("VmRSS:")[2].split()[0]) // 1024

def payload_of(owner):
    return owner.to_bytes(8, "little") * (3, 40, 100, 250, 450, 512)[owner % 6]

rnd = random.Random(64)
pool, handles = ZsPool(), {}
before = resident_mib()
for owner in range(40000):
    handles[owner] = put(pool, payload_of(owner), owner)
    if owner % 5000 == 4999:
        for leaving in rnd.sample(sorted(handles), int(len(handles) * 0.6)):
            discard(pool, handles.pop(leaving))
        if owner % 10000 == 9999:
            handles.update(compact(pool))
        for staying, handle in handles.items():
            assert get(pool, handle, len(payload_of(staying))) == payload_of(staying), staying
for handle in handles.values():
    discard(pool, handle)
assert resident_mib() - before < 4 + 6, resident_mib() - before
pool.clear()
"""


@pytest.fixture(scope="module")
def large_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path_factory.mktemp("preloaded") / "large_pages.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SHIM, "-ldl"], check=True)
    return library


@pytest.mark.parametrize(
    ("page_bytes", "kind"),
    [(16384, ""), (65536, ""), (65536, "LARGE_PAGES_UNTOLD"), (65536, "OLD_KERNEL")],
)
def test_objects_stay_as_they_are_with_pages_of(large_pages: Path, page_bytes: int, kind: str) -> None:
    run_with(large_pages, page_bytes, kind, HISTORY)


def run_with(library: Path, page_bytes: int, kind: str, script: str) -> str:
    told = {"LD_PRELOAD": str(library), "LARGE_PAGE_BYTES": str(page_bytes), **({kind: "1"} if kind else {})}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **told},
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("kind", ["", "LARGE_PAGES_UNTOLD"])
def test_pool_finds_out_how_large_pages_are(large_pages: Path, kind: str) -> None:
    show = "from zramfs.pool.zspool import ZsPool; print(ZsPool().system_page_bytes)"
    assert run_with(large_pages, 65536, kind, show) == "65536\n"


@pytest.mark.parametrize("page_bytes", [16384, 65536])
def test_page_of_the_system_goes_back_with_the_last_zspage_in_it(
    page_bytes: int, resident_bytes: Callable[[], int]
) -> None:
    pool = ZsPool(page_bytes)
    before = resident_bytes()
    handles = [put(pool, bytes(PAGE)) for _ in range(20_000)]
    full = resident_bytes()
    assert full - before > 75 * MIB
    neighbours = page_bytes // PAGE
    for number, handle in enumerate(handles):
        if number % neighbours:
            discard(pool, handle)
    assert resident_bytes() > full - MIB
    for handle in handles[::neighbours]:
        discard(pool, handle)
    assert resident_bytes() - before < SPARE + 2 * MIB


@pytest.mark.parametrize("system_page_bytes", [0, 1, 2048, 6144, 1 << 20])
def test_pool_refuses_pages_that_no_system_has(system_page_bytes: int) -> None:
    with pytest.raises(ValueError, match="no pages of"):
        ZsPool(system_page_bytes)
