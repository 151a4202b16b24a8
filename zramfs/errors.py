"""Every error that zramfs raises on purpose, each with the errno that the kernel's zram would give."""

import errno


class ZramError(Exception):
    """Base of all. A request that meets one is answered with its errno; a command prints its one line."""

    errno: int = errno.EIO


class InvalidValue(ZramError):  # noqa: N818 - named after what is wrong, as trio's are
    """A control file or an option was given a value that it cannot take. Raised by control/ and accel/."""

    errno = errno.EINVAL


class ValueTooLong(InvalidValue):
    """A name longer than the kernel's buffer for it (128 bytes)."""

    errno = errno.E2BIG


class ValueOutOfRange(InvalidValue):
    """A number that does not fit the kernel's type for it."""

    errno = errno.ERANGE


class DeviceBusy(ZramError):  # noqa: N818
    """The device is initialised, open or has I/O in flight, and this needs it otherwise."""

    errno = errno.EBUSY


class ReadOnlyDevice(ZramError):  # noqa: N818
    """The mount is read-only, and somebody wants to write, or to take the contents away."""

    errno = errno.EROFS


class NoSuchDevice(ZramError):  # noqa: N818
    """There is no device of this number, or it has been removed since the control file was opened."""

    errno = errno.ENODEV


class NotInitialised(ZramError):  # noqa: N818
    """The device has no disksize yet."""

    errno = errno.EINVAL


class PastTheEnd(ZramError):  # noqa: N818
    """A write that begins at or behind the last byte of the device."""

    errno = errno.ENOSPC


class MemoryLimitReached(ZramError):  # noqa: N818
    """Storing a page would exceed mem_limit, or the system has no memory left; the page keeps its old contents.

    The writer sees EIO, as from the kernel's zram.
    """


class CorruptPage(ZramError):  # noqa: N818
    """A stored page did not decompress to 4096 bytes. The reader sees EIO, failed_reads counts it."""


class NoBackingDevice(ZramError):  # noqa: N818
    """Writeback was asked for, and there is nothing to write back to."""

    errno = errno.ENODEV


class BackingDeviceFull(ZramError):  # noqa: N818
    """Every block of the backing device is in use; what is in memory stays there."""

    errno = errno.ENOSPC


class BackingDeviceFailed(ZramError):  # noqa: N818
    """The backing device cannot be opened, read or written. `error_number` is the system's; no other page suffers."""

    def __init__(self, text: str, error_number: int) -> None:
        super().__init__(text)
        self.errno = error_number


class LiesOnOwnMount(ZramError):  # noqa: N818
    """A file or device that the daemon was told to use lies on its own mount: it would wait for itself."""

    errno = errno.EINVAL


class WritebackLimitSpent(ZramError):  # noqa: N818
    """writeback_limit allows no further page (EIO); what is in memory stays there."""


class Interrupted(ZramError):  # noqa: N818
    """The daemon is about to end, and what takes its time ended before it was done. Programs would repeat an EINTR."""

    errno = errno.ECANCELED


class NotSupported(ZramError):  # noqa: N818
    """What is asked for cannot be had of this device, or of the package that works for it."""

    errno = errno.EOPNOTSUPP


class BackendBroken(ZramError):  # noqa: N818
    """A backend of another package broke its contract where nothing can be done without it; the text names both."""


class AcceleratorUnavailable(ZramError):  # noqa: N818
    """The accelerator could not be set up; the device then runs on its per-CPU streams alone."""

    errno = errno.ENODEV


class MountFailed(ZramError):  # noqa: N818
    """A mount cannot be made, or ended; the text says why and what to do."""


class NotMounted(MountFailed):
    """No zramfs is mounted there."""


class MountIsDead(MountFailed):
    """The daemon of a mount has ended, and the mount is still there."""


class MountDoesNotAnswer(MountFailed):
    """The daemon of a mount, or another file system, is hung; the text says what to do."""


class LibraryMissing(ZramError):  # noqa: N818
    """A shared library or a package that a codec needs cannot be loaded; the text says which to install."""

    errno = errno.EINVAL


class CommandFailed(ZramError):  # noqa: N818
    """A program that a verb needs (mkswap, swapon, …) is missing, or said no; the text is its last line."""


class BadUsage(CommandFailed, InvalidValue):
    """A verb was given an option, or a value of one, that it cannot take; the text is its line."""
