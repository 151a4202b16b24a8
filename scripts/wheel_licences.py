#!/usr/bin/env python3
"""Puts the licences of the libraries that auditwheel has copied into wheels beside the wheels' own.

The texts are those of the Debian packages that the libraries come from, on the machine that builds: only these tell of
the versions that are in the wheel.
    scripts/wheel_licences.py WHEEL…
"""

import csv
import io
import re
import subprocess
import sys
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

_HASH: Final = re.compile(r"-[0-9a-f]{8}(?=\.so)")
"""What auditwheel puts into a library's name."""

_DOCS: Final = Path("/usr/share/doc")
_COMMON: Final = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])")
"""Where the text of a package refers to one that Debian has only once."""

_MODE: Final = 0o100644


def add_licences(wheel: Path) -> None:
    """Write a wheel anew, with a text for each library that is in it."""
    with ZipFile(wheel) as archive:
        infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        contents = {name: archive.read(name) for name in infos}
    libraries = [name for name in contents if name.partition("/")[0].endswith(".libs")]
    if not libraries:
        return
    (record,) = (name for name in contents if name.endswith(".dist-info/RECORD"))
    dist_info = record.removesuffix("/RECORD")
    licences = _licences(libraries)
    metadata = f"{dist_info}/METADATA"
    contents[metadata] = _with_license_files(contents[metadata], licences)
    contents |= {f"{dist_info}/licenses/{name}": text for name, text in licences.items()}
    contents[record] = b""
    contents[record] = _record(contents)
    _write(wheel, contents, infos, infos[record])


def _licences(libraries: list[str]) -> dict[str, bytes]:
    """Return the texts by their paths below `licenses/`: a library's is its own and `.txt`."""
    texts = {f"{name}.txt": (_DOCS / _package_of(name) / "copyright").read_bytes() for name in libraries}
    referred = {name for text in texts.values() for name in _COMMON.findall(text.decode())}
    common = {f"common-licenses/{name}": Path("/usr/share/common-licenses", name).read_bytes() for name in referred}
    return dict(sorted((texts | common).items()))


def _package_of(library: str) -> str:
    """Return the Debian package that has the file which a library is a copy of; SystemExit if none has."""
    name = _HASH.sub("", library.rpartition("/")[2])
    found = subprocess.run(["dpkg", "--search", f"*/{name}"], capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(f"no Debian package has {name}, and so its licence is not known")
    return found.stdout.partition(":")[0]


def _with_license_files(metadata: bytes, licences: dict[str, bytes]) -> bytes:
    """Name the texts where the wheel's own licence is named (PEP 639)."""
    own = b"License-File: LICENSE\n"
    return metadata.replace(own, own + b"".join(f"License-File: {name}\n".encode() for name in licences), 1)


def _record(contents: dict[str, bytes]) -> bytes:
    """Return the list of all files, with their hashes; its own has none."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for name, content in contents.items():
        digest = urlsafe_b64encode(sha256(content).digest()).rstrip(b"=").decode()
        is_record = name.endswith(".dist-info/RECORD")
        writer.writerow([name, "", ""] if is_record else [name, f"sha256={digest}", len(content)])
    return lines.getvalue().encode()


def _write(wheel: Path, contents: dict[str, bytes], infos: dict[str, ZipInfo], like: ZipInfo) -> None:
    written = wheel.with_suffix(".tmp")
    with ZipFile(written, "w", ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in contents.items():
            info = infos.get(name)
            if info is None:
                info = ZipInfo(name, like.date_time)
                info.external_attr = _MODE << 16
            archive.writestr(info, content, ZIP_DEFLATED, 9)
    written.replace(wheel)


if __name__ == "__main__":
    for each in sys.argv[1:]:
        add_licences(Path(each))
