import pytest

from zramfs.libraries import explain_import_error


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("libfuse3.so.3: cannot open shared object file: No such file or directory", "libfuse3-3"),
        ("/lib/x86_64-linux-gnu/libfuse3.so.3: file too short", "libfuse3-3"),
        ("libfuse3.so.4: cannot open shared object file: No such file or directory", "libfuse3-4"),
        ("/usr/lib/liblz4.so.1: invalid ELF header", "liblz4-1"),
        ("libzstd.so.1: cannot open shared object file: No such file or directory", "libzstd1"),
        ("libz.so.1: cannot open shared object file: No such file or directory", "zlib1g"),
        ("/lib/libz.so.1.2.13: file too short", "zlib1g"),
        ("libdeflate.so.0: cannot open shared object file: No such file or directory", "libdeflate0"),
    ],
)
def test_package_of_a_library_is_named(text: str, package: str) -> None:
    assert f"install the package {package} (" in explain_import_error(ImportError(text))


def test_other_libraries_are_named_themselves() -> None:
    text = "libother.so.1: cannot open shared object file: No such file or directory"
    assert explain_import_error(ImportError(text)) == f"a part of zramfs cannot be loaded: {text}"


@pytest.mark.parametrize(
    ("module", "says"),
    [("pyfuse3", "pip install pyfuse3"), ("trio.lowlevel", "pip install trio"), ("zramfs.memory", "make setup")],
)
def test_missing_module_is_named_with_its_remedy(module: str, says: str) -> None:
    assert says in explain_import_error(ModuleNotFoundError(f"No module named {module!r}", name=module))
