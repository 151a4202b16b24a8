"""The compiled parts: every .pyx below zramfs/ is a module. pyproject.toml has everything else.

`python setup.py build_ext --inplace` builds what has changed since, and what cimports it.
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

LIBRARIES = {
    "zramfs.codec.deflate": ["z", "deflate"],
    "zramfs.codec.lz4": ["lz4"],
    "zramfs.codec.lz4hc": ["lz4"],
    "zramfs.codec.zstd": ["zstd"],
    "zramfs.fuse.interposed": ["fuse3"],
}
C_SOURCES = {
    "zramfs.codec.lz4": ["zramfs/codec/lz4_page.c", "zramfs/codec/lz4_dictionary_page.c"],
    "zramfs.codec.lzo": ["zramfs/codec/lzo_compress_page.c", "zramfs/codec/lzo_decompress_page.c"],
    "zramfs.receive.queue_ring": ["zramfs/receive/io_ring.c"],
}

# Cython's own code for memoryviews and functions: in a module of its own it is compiled once, and not for each of ours.
SHARED = "zramfs._cyutility"

# Backtraces have lines. Python's own -g, all variables with it, takes a fifth of the compiler's time.
LINES = "-g1"


class BuildExt(build_ext):
    """Translates in processes first: Cython's translation of its own code changes globals that other threads read."""

    def run(self) -> None:
        """Keep what is compiled in place for the next time, also where pip would use a temporary folder."""
        if self.inplace or self.editable_mode:
            self.build_temp, self.build_lib = "build/compiled", "build/lib"
        super().run()

    def build_extensions(self) -> None:
        """Translate what has changed, and compile."""
        translated = cythonize(
            self.extensions,
            nthreads=int(self.parallel or 1),
            force=self.force,
            quiet=self.verbose == 0,
            build_dir=self.build_temp,
            emit_linenums=bool(self.cython_line_directives),
            shared_utility_qualified_name=SHARED,
        )
        for extension, c in zip(self.extensions, translated, strict=True):
            extension.sources, extension.depends = c.sources, c.depends
        super().build_extensions()


def extension(source: Path) -> Extension:
    """Return the module of a .pyx, which is compiled again when this file or a header that it includes changes."""
    name = ".".join(source.with_suffix("").parts)
    return Extension(
        name,
        [str(source), *C_SOURCES.get(name, [])],
        include_dirs=[str(source.parent)],
        depends=["setup.py", *map(str, source.parent.glob("*.h"))],
        libraries=LIBRARIES.get(name, []),
        extra_compile_args=[LINES],
    )


def shared() -> Extension:
    """Return the module of Cython's own code."""
    return Extension(SHARED, ["zramfs/_cyutility.c"], extra_compile_args=[LINES, "-O1", "-Wno-unused-function"])


setup(
    ext_modules=[shared(), *map(extension, sorted(Path("zramfs").rglob("*.pyx")))],
    cmdclass={"build_ext": BuildExt},
)
