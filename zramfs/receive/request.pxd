# A request of a block file on its way: from the kernel's words to a bio, and from the ended bio to the kernel's words.
#
# Whoever received a request calls `read_request`. SUBMIT: fill in what is left of `bio` (`end`, `owner`, `channel`,
# `is_urgent`; `data`, for a read) and pass it to `submit_request`; `make_reply` is for `end`. ANSWER: `make_reply` at
# once. HAND_OVER: it is `handover`'s. IGNORE: the kernel expects no reply.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zramfs.block.bio cimport Bio
from zramfs.receive.handles cimport Handles
from zramfs.receive.protocol cimport fuse_in_header, fuse_lseek_out, fuse_out_header, fuse_write_out

cdef enum Verdict:
    SUBMIT
    ANSWER
    HAND_OVER
    IGNORE

# `bio` comes first: `end` is given its address, which is the request's.
cdef struct Request:
    Bio bio
    void *disk                  # the block.disk.Disk that it is for
    uint64_t unique
    uint32_t opcode
    int64_t found               # of an lseek: where

# What goes to the kernel: the header; `argument`, of `argument_bytes`; and `data_bytes` from `bio.data` on. Either of
# the last two is empty.
cdef union Argument:
    fuse_write_out written
    fuse_lseek_out found

cdef struct Reply:
    fuse_out_header header
    Argument argument
    uint64_t argument_bytes
    uint64_t data_bytes

# `arguments` are what follows the header, `argument_bytes` with the data of a write; `payload` is that data.
cdef Verdict read_request(
    Request *request, const fuse_in_header *header, const void *arguments, uint8_t *payload, Handles handles
) noexcept nogil
cdef int submit_request(Request *request) noexcept nogil        # block.bio.Outcome
cdef void make_reply(const Request *request, Reply *reply) noexcept nogil
