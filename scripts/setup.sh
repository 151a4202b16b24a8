#!/usr/bin/env bash
# Installs what zramfs needs on Debian 12: system packages, a .venv with the dependencies, and the compiled parts.
# Quick when there is nothing to do.
#   scripts/setup.sh [PACKAGE ...]    the packages named are installed as well
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
packages=(
    gcc libc6-dev pkg-config python3-dev python3-venv libfuse3-dev  # to build
    liblz4-dev libzstd-dev zlib1g-dev libdeflate-dev                # to build, and to compress
    fuse3 util-linux mount e2fsprogs                                # to run
    fio liblzo2-2                                                   # to test and measure
    "$@"
)

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    echo "setup: installing ${missing[*]}"
    "${as_root[@]}" apt-get update --quiet --quiet
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" \
        apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}"
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv

# Each stamp names everything that its step depends on, by content.
stamp_of() {
    sha256sum "$@" | sha256sum
}
is_done() { # STAMP FILE...
    [ "$(cat "$1" 2>/dev/null)" = "$(stamp_of "${@:2}")" ]
}

mapfile -t sources < <(find zramfs -name '*.pyx' -o -name '*.pxd' -o -name '*.[ch]' | LC_ALL=C sort)
sources+=(setup.py)
installed=.venv/zramfs.installed
built=.venv/zramfs.built
if ! is_done "$installed" pyproject.toml; then
    echo "setup: building zramfs in .venv"
    # compat: the path of the folder, without a finder that takes each start of Python 20 ms to import.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat \
        --editable '.[dev]'
    stamp_of pyproject.toml >"$installed"
    stamp_of "${sources[@]}" >"$built"
fi
if ! is_done "$built" "${sources[@]}"; then
    echo "setup: building what has changed"
    .venv/bin/python -W ignore setup.py --quiet build_ext --inplace
    stamp_of "${sources[@]}" >"$built"
fi

# An editable install has no bytecode. Where Python is not to write any, as in many containers, each start would take
# longer.
.venv/bin/python -m compileall -q zramfs
