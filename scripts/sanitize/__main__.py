"""The compiled parts under ThreadSanitizer, under AddressSanitizer, and under UBSan with Cython's bounds checks.

`make sanitize` runs this: each build, in a folder of its own below build/, runs the unit tests of the compiled parts,
and serves mounts under load. Exit code 0 if nothing failed and nothing was reported, else 1.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from builds import BUILDS, FOLDER, Build, BuildError
from load import Load, LoadError
from reports import findings, suppressions_without_reason

TESTED = ("codec", "pool", "accel", "zcomp", "device", "block", "receive", "simulate")
SUPPRESSIONS = Path(__file__).with_name("suppressions")
OVERLAPPING_S = 8.0

# Words of the names of tests that a sanitizer's runtime makes fail, and why.
LEFT_OUT = {
    "memory_back": "they measure resident memory, which the runtime adds to and keeps",
    "memory_goes_back": "likewise",
    "is_resident": "likewise",
    "without_touching": "likewise",
    "costs_a_page_for_each_place": "likewise",
    "test_large_pages": "they load a library before all others, where the runtime has to be",
    "takes_32_pages_at_a_time": "streams bound their runs by time, and it presumes lz4's speed",
    "what_the_queue_does_not_take": "likewise",
}


def main(arguments: list[str]) -> int:
    """Run what was asked for, and return the exit code."""
    given = parse(arguments)
    if missing := suppressions_without_reason(SUPPRESSIONS):
        print("sanitize: no reason above", *missing, sep="\n  ", file=sys.stderr)
        return 1
    failures: list[str] = []
    for name in given.builds:
        failures += check(BUILDS[name], given)
    print("\n".join(["", "sanitize: failed", *failures] if failures else ["sanitize: nothing found"]))
    return 1 if failures else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="sanitize", description=str(__doc__))
    parser.add_argument(
        "builds",
        nargs="*",
        choices=list(BUILDS),
        default=list(BUILDS),
        metavar="BUILD",
        help=f"{', '.join(BUILDS)}; default: all",
    )
    parser.add_argument("--no-load", action="store_true", help="the tests alone")
    parser.add_argument(
        "--tests", nargs="*", metavar="PATH", help="instead of those of all compiled parts; none: no tests"
    )
    return parser.parse_args(arguments)


def check(build: Build, given: argparse.Namespace) -> list[str]:
    """Build, test and load; returns a line for each failure and each distinct finding."""
    began = time.monotonic()
    shutil.rmtree(build.reports, ignore_errors=True)
    try:
        print(f"{build.name}: compiling", flush=True)
        build.make()
        failures = test(build, given.tests)
        failures += [] if given.no_load else load(build)
    except (BuildError, LoadError) as error:
        return [f"{build.name}: {error}"]
    found = findings(build)
    failures += [f"{count} times {summary}" for summary, count in found.ours.most_common()]
    said = f"{len(found.ours)} distinct findings in {build.reports.relative_to(FOLDER.parent.parent)}"
    print(
        f"{build.name}: {said}; {found.noise} reports without a frame of ours; {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return [f"{build.name}: {failure}" for failure in failures]


def test(build: Build, paths: list[str] | None) -> list[str]:
    """Run the unit tests with the build's compiled parts."""
    if paths is None:
        paths = [f"tests/unit/{part}" for part in TESTED if (build.folder / "tests/unit" / part).is_dir()]
    if not paths:
        return []
    print(f"{build.name}: tests", flush=True)
    command = [*build.prefix, sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--timeout", "1200"]
    command += ["--numprocesses", str(os.cpu_count() or 1), "--dist", "loadgroup"]
    if build.runtime is not None:
        command += ["-k", f"not ({' or '.join(LEFT_OUT)})"]
        # A backing process takes its time to end, and may be forgotten before.
        command += ["-W", "ignore:subprocess:ResourceWarning"]
    log = FOLDER / f"{build.name}.tests.log"
    with log.open("w") as output:
        result = subprocess.run(
            [*command, *paths],
            cwd=build.folder,
            env=build.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    print("  " + log.read_text().strip().rpartition("\n")[2], flush=True)
    return [f"tests failed, see {log}"] if result.returncode != 0 else []


def load(build: Build) -> list[str]:
    """Serve mounts under load."""
    if os.geteuid() != 0 or shutil.which("fio") is None:
        raise LoadError("mounts under load need root and fio (--no-load does without)")
    print(f"{build.name}: mounts under load", flush=True)
    return Load(build, overlapping_s=OVERLAPPING_S).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
