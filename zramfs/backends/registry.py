"""Finds backends: every one is announced by the entry-point group `zramfs.backends`, ours like other packages'."""

from importlib.metadata import entry_points
from typing import Final

from zramfs.backends.promises import describe
from zramfs.contracts import Backend
from zramfs.errors import InvalidValue, LibraryMissing
from zramfs.libraries import explain_import_error
from zramfs.suggestions import did_you_mean

ENTRY_POINT_GROUP: Final = "zramfs.backends"

_IN_THE_KERNELS_ORDER: Final = ("lzo-rle", "lzo", "lz4", "lz4hc", "zstd", "deflate")


def backend_names() -> list[str]:
    """The algorithms that can be chosen: the kernel's in its order (zcomp.c), then the others, sorted."""
    names = entry_points(group=ENTRY_POINT_GROUP).names
    return [name for name in _IN_THE_KERNELS_ORDER if name in names] + sorted(names - {*_IN_THE_KERNELS_ORDER})


def load_backend(name: str) -> Backend:
    """Return the backend of this name.

    InvalidValue if there is none or its package is broken, LibraryMissing if it needs one that cannot be loaded.
    """
    announced = entry_points(group=ENTRY_POINT_GROUP, name=name)
    if not announced:
        raise InvalidValue(f"no algorithm {name!r}: {did_you_mean(name, backend_names())}")
    try:
        backend = next(iter(announced)).load()
    except ImportError as error:
        raise LibraryMissing(f"algorithm {name!r} cannot be loaded: {explain_import_error(error)}") from error
    except BaseException as error:  # whatever another package raises
        raise InvalidValue(f"algorithm {name!r} cannot be loaded: {describe(error)}") from error
    if not isinstance(backend, Backend) or not isinstance(getattr(backend, "name", None), str):
        raise InvalidValue(f"algorithm {name!r} is announced, but is not a Backend")
    return backend
