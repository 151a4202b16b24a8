# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What the device failed on is compressed in software, and counted: a broken device costs time, never data."""

from zramfs.accel.descriptor cimport BUS_ERROR, DEVICE_GONE, TIMED_OUT, VERIFY_FAILED
from zramfs.accel.ring cimport DescriptorRing
from zramfs.atomic cimport count_u64, peek_u64
from zramfs.codec.run cimport CompressedRun

_NAME_OF_STATUS = {
    TIMED_OUT: "errors_timeout",
    BUS_ERROR: "errors_bus_error",
    VERIFY_FAILED: "errors_corrupt",
    DEVICE_GONE: "errors_offline",
}


cdef class SoftwareRepair:
    """Repairs runs of `ring`, with contexts of its codec. On any thread."""

    def __cinit__(self, DescriptorRing ring not None):
        self.ring = ring

    cdef void repair(self, CompressedRun run) noexcept nogil:
        """Compress the pages of a run that have a status instead of a length."""
        cdef int i, status
        for i in range(run.count):
            if DEVICE_GONE <= run.pages[i].length <= TIMED_OUT:
                status = self.ring.repair_page(&run.pages[i])
                count_u64(&self.errors[TIMED_OUT - status], 1)
                count_u64(&self.redone, 1)

    def counts(self):
        """Descriptors that failed, in all and by kind of failure, and those that were redone in software."""
        cdef int status
        errors = {name: peek_u64(&self.errors[TIMED_OUT - status]) for status, name in _NAME_OF_STATUS.items()}
        redone = peek_u64(&self.redone)
        return {"completion_errors": sum(errors.values()), **errors, "software_redone": redone}
