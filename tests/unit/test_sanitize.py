"""What `make sanitize` takes for a finding, and what it compiles."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "sanitize"

RACE = """==================
WARNING: ThreadSanitizer: data race (pid=1)
  Write of size 4 at 0x7b44000c5270 by main thread:
    #0 write_it {writer} ({writer}+0x124db)
    #1 _PyEval_EvalFrameDefault Python/ceval.c:2585 (libpython3.11.so.1.0+0x103824)

  Previous read of size 4 at 0x7b44000c5270 by thread T1 (mutexes: write M873):
    #0 memcpy tsan_interceptors.cpp:647 (libtsan.so+0x3ebb8)

  Location is heap block of size 312 at 0x7b44000c51c0 allocated by main thread:
    #0 make_ring zramfs/accel/ring.pyx:81 ({origin}+0x15ead)

  Mutex M873 (0x7b440015ac60) created at:
    #0 make_lock zramfs/accel/ring.pyx:81 ({origin}+0x15ead)

  Thread T1 'zramfs-eng-0' (tid=30846, running) created by main thread at:
    #0 start zramfs/accel/driver.pyx:1 ({origin}+0x5e686)

SUMMARY: ThreadSanitizer: data race somewhere in write_it
==================
"""
OURS = {"ring.cpython-311-x86_64-linux-gnu.so"}
RING, LIBRARY = "ring.cpython-311-x86_64-linux-gnu.so", "libpython3.11.so.1.0"


@pytest.fixture
def scripts() -> dict[str, ModuleType]:
    return {name: importlib.import_module(name) for name in ("builds", "reports")}


def test_a_race_counts_if_a_frame_of_ours_took_part(scripts: dict[str, ModuleType]) -> None:
    found = scripts["reports"].reports_in(RACE.format(writer=RING, origin=LIBRARY), OURS)
    assert found == [("ThreadSanitizer: data race somewhere in write_it", True)]


def test_a_race_of_others_on_what_ours_has_made_is_noise(scripts: dict[str, ModuleType]) -> None:
    found = scripts["reports"].reports_in(RACE.format(writer=LIBRARY, origin=RING), OURS)
    assert found == [("ThreadSanitizer: data race somewhere in write_it", False)]


def test_every_race_of_a_file_is_seen(scripts: dict[str, ModuleType]) -> None:
    both = RACE.format(writer=RING, origin=RING) + RACE.format(writer=LIBRARY, origin=RING)
    assert [counts for _, counts in scripts["reports"].reports_in(both, OURS)] == [True, False]


def test_what_address_sanitizer_says_always_counts(scripts: dict[str, ModuleType]) -> None:
    text = (
        "=================================================================\n"
        "==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1 at pc 0x2\n"
        f"    #0 0x1 in PyBytes_Resize ({LIBRARY}+0x1)\n"
        "SUMMARY: AddressSanitizer: heap-buffer-overflow in PyBytes_Resize\n"
    )
    assert scripts["reports"].reports_in(text, OURS) == [
        ("AddressSanitizer: heap-buffer-overflow in PyBytes_Resize", True)
    ]


def test_undefined_behaviour_is_found_by_its_line(scripts: dict[str, ModuleType]) -> None:
    text = "zramfs/pool/zspool.pyx:64:8: runtime error: store to misaligned address 0x1\n    #0 0x1 in f\n"
    assert scripts["reports"].reports_in(text, OURS) == [(text.partition("\n")[0], True)]


def test_nothing_is_found_in_a_warning_of_the_runtime(scripts: dict[str, ModuleType]) -> None:
    assert scripts["reports"].reports_in("==7==WARNING: ASan doesn't fully support makecontext\n", OURS) == []


def test_a_suppression_needs_a_reason_of_its_own(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    (tmp_path / "thread.txt").write_text("# why\nrace:one\n\nrace:two\n# why, too\nrace:three\nrace:four\n")
    missing = scripts["reports"].suppressions_without_reason(tmp_path)
    assert missing == ["thread.txt: race:two", "thread.txt: race:four"]


def test_the_suppressions_that_there_are_have_reasons(scripts: dict[str, ModuleType]) -> None:
    assert scripts["reports"].suppressions_without_reason(SCRIPTS / "suppressions") == []


def test_the_debug_build_has_all_checks_on(scripts: dict[str, ModuleType]) -> None:
    """Also those of files that are yet to come, whatever way they switch them off."""
    switched_off = re.compile(r"(boundscheck|wraparound|initializedcheck)\W+False")
    for path in (SCRIPTS.parents[1] / "zramfs").rglob("*.p[yx][xd]"):
        assert not switched_off.search(scripts["builds"].with_checks(path.read_text()))
    with_decorator = scripts["builds"].with_checks("@cython.boundscheck(False)\n# cython: cdivision=True\n")
    assert with_decorator == "@cython.boundscheck(True)\n# cython: cdivision=True\n"
