"""Says which package is missing when a part of the program cannot be loaded. Level 0."""

import re
from typing import Final

_PACKAGES: Final = {
    "libfuse3": "libfuse3-{}",
    "liblz4": "liblz4-{}",
    "libzstd": "libzstd{}",
    "libz": "zlib1g",
    "libdeflate": "libdeflate{}",
}
"""Debian's packages by the names of their libraries; {} is the first number behind `.so`."""

_LIBRARY: Final = re.compile(r"(?:^|[\s/])(lib[\w+-]+)\.so\.(\d+)[.\d]*: ")


def explain_import_error(error: ImportError, *, otherwise: str = "") -> str:
    """Return one line: what cannot be loaded, and what to install; `otherwise` if nothing that is missing is named."""
    text = str(error)
    library = _LIBRARY.search(text)
    if library is not None and library[1] in _PACKAGES:
        package = _PACKAGES[library[1]].format(library[2])
        return f"{library[1]}.so.{library[2]} is missing or broken: install the package {package} ({text})"
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return otherwise or f"a part of zramfs cannot be loaded: {text}"
    package = error.name.partition(".")[0]
    if package == "zramfs":
        return f"{error.name} is not built: build it with: make setup"
    return f"the Python package {package} is missing: install it with: pip install {package}"
