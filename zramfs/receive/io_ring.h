/* An io_uring for one thread, without liburing: what FUSE needs of it, with the kernel's numbers as of Linux 6.14.
 *
 * The thread that opens a ring is the only one to submit to it and to reap from it: the kernel relies on that
 * (IORING_SETUP_SINGLE_ISSUER), and does its part of the work in that thread, when it enters the ring and not before
 * (IORING_SETUP_DEFER_TASKRUN). */

#ifndef ZRAMFS_IO_RING_H
#define ZRAMFS_IO_RING_H

#include <stddef.h>
#include <stdint.h>

enum {
    IO_RING_POLL_ADD = 6,
    IO_RING_TIMEOUT = 11,
    IO_RING_URING_CMD = 46,
    IO_RING_POLL_MULTISHOT = 1,     /* in `length` of a POLL_ADD */
    IO_RING_MORE = 2,               /* in `flags` of its completions: there will be others */
};

/* struct io_uring_sqe, as IORING_SETUP_SQE128 has it */
struct io_ring_sqe {
    uint8_t opcode;
    uint8_t flags;
    uint16_t ioprio;
    int32_t fd;
    uint32_t command;       /* of a URING_CMD; how many completions end a TIMEOUT, 0 if it goes by time alone */
    uint32_t unused;
    uint64_t address;
    uint32_t length;
    uint32_t events;        /* of a POLL_ADD */
    uint64_t user_data;
    uint64_t more;
    uint8_t arguments[80];  /* of a URING_CMD */
};

struct io_ring_cqe {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
};

struct io_ring {
    int fd;                 /* -1: closed */
    int registered;         /* its number among the thread's registered rings, or -1 */
    int anchor_fd;          /* see io_ring_end_with_thread; -1: none */
    uint32_t enter_flags;
    uint32_t sq_mask, cq_mask;
    uint32_t tail;          /* of the submission queue; the kernel knows of those before `*sq_tail` */
    uint32_t unsubmitted;
    uint32_t head;          /* of the completion queue */
    uint32_t *sq_tail, *cq_head, *cq_tail;
    struct io_ring_sqe *sqes;
    const struct io_ring_cqe *cqes;
    void *queues;
    size_t queues_bytes, sqes_bytes;
};

/* As the kernel reads it from the address of a TIMEOUT. */
struct io_ring_time {
    int64_t seconds, nanoseconds;
};

/* 0, or -errno. `submissions` is how many are unsubmitted at most, `completions` how many are there at a time. */
int io_ring_open(struct io_ring *ring, uint32_t submissions, uint32_t completions);
void io_ring_close(struct io_ring *ring);

/* Have the kernel cancel all commands while the thread exits, killed or not. Otherwise a worker of the kernel's cancels
 * them later, and they hold their file open behind the end of the process. Submits a poll that has no completion, with
 * this `user_data`. 0, or -errno. */
int io_ring_end_with_thread(struct io_ring *ring, uint64_t user_data);

/* The next entry to fill in, zeroed; it is submitted by the next io_ring_enter. */
struct io_ring_sqe *io_ring_next(struct io_ring *ring);

/* Submit, let the kernel do its part, and with `wait` stay until there is a completion or `timeout_ns` (-1: never) are
 * over. 0, or -errno: -EINTR and -ETIME are no failures. */
int io_ring_enter(struct io_ring *ring, int wait, int64_t timeout_ns);

/* The next completion, or NULL; it is the caller's until io_ring_seen. */
static inline const struct io_ring_cqe *io_ring_peek(const struct io_ring *ring) {
    if (ring->head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
        return NULL;
    return &ring->cqes[ring->head & ring->cq_mask];
}

static inline void io_ring_seen(struct io_ring *ring) {
    __atomic_store_n(ring->cq_head, ++ring->head, __ATOMIC_RELEASE);
}

#endif
