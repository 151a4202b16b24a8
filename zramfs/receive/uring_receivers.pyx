# cython: language_level=3
"""The receivers of a session, which begin when INIT is answered: before that, the kernel takes no entries."""

from zramfs.receive.handover cimport Handover
from zramfs.receive.uring cimport UringReceiver
from zramfs.receive.uring_protocol cimport FUSE_OVER_IO_URING


cdef class UringReceivers:
    """The `receivers` of a session, one for each of the kernel's queues."""

    cdef readonly list receivers

    def __init__(self, receivers):
        self.receivers = list(receivers)

    def begin_with(self, Handover handover not None):
        """Let them begin when INIT is answered, and ask for io_uring there."""
        handover.init_flags = handover.init_flags | FUSE_OVER_IO_URING
        handover.initialised = begin_all
        handover.initialised_owner = <void *>self


cdef void begin_all(void *owner) noexcept nogil:
    with gil:
        for receiver in (<UringReceivers>owner).receivers:
            (<UringReceiver>receiver).begin()
