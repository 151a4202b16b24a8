#define _GNU_SOURCE
#include "io_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SETUP_CQSIZE = 1 << 3,
    SETUP_CLAMP = 1 << 4,
    SETUP_SQE128 = 1 << 10,
    SETUP_SINGLE_ISSUER = 1 << 12,
    SETUP_DEFER_TASKRUN = 1 << 13,
    FEATURE_SINGLE_MMAP = 1 << 0,
    FEATURE_EXT_ARG = 1 << 8,
    FEATURE_NO_IOWAIT = 1 << 17,
    ENTER_GETEVENTS = 1 << 0,
    ENTER_EXT_ARG = 1 << 3,
    ENTER_REGISTERED_RING = 1 << 4,
    ENTER_NO_IOWAIT = 1 << 7,   /* else top(1) would show threads that wait for requests as 100 % I/O */
};

enum {
    REGISTER_RING_FDS = 20,
    UNREGISTER_RING_FDS = 21,
};

#define OFFSET_QUEUES 0ul
#define OFFSET_SQES 0x10000000ul

struct sq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
    uint64_t user_addr;
};

struct cq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
    uint64_t user_addr;
};

struct params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, resv[3];
    struct sq_offsets sq_off;
    struct cq_offsets cq_off;
};

struct registration {
    uint32_t number, reserved;
    uint64_t fd;
};

struct enter_argument {
    uint64_t signal_mask;
    uint32_t signal_mask_bytes, min_wait_us;
    uint64_t timeout;
};

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static int map_queues(struct io_ring *ring, const struct params *params) {
    size_t sq_bytes = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
    size_t cq_bytes = params->cq_off.cqes + params->cq_entries * sizeof(struct io_ring_cqe);
    ring->queues_bytes = larger(sq_bytes, cq_bytes);
    ring->sqes_bytes = params->sq_entries * sizeof(struct io_ring_sqe);
    ring->queues = mmap(
        NULL, ring->queues_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, OFFSET_QUEUES);
    if (ring->queues == MAP_FAILED)
        return -errno;
    ring->sqes = mmap(NULL, ring->sqes_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, OFFSET_SQES);
    return (void *)ring->sqes == MAP_FAILED ? -errno : 0;
}

static void find_words(struct io_ring *ring, const struct params *params) {
    char *start = ring->queues;
    uint32_t *array = (uint32_t *)(start + params->sq_off.array);
    ring->sq_tail = (uint32_t *)(start + params->sq_off.tail);
    ring->cq_head = (uint32_t *)(start + params->cq_off.head);
    ring->cq_tail = (uint32_t *)(start + params->cq_off.tail);
    ring->cqes = (const struct io_ring_cqe *)(start + params->cq_off.cqes);
    ring->sq_mask = params->sq_entries - 1;
    ring->cq_mask = params->cq_entries - 1;
    for (uint32_t i = 0; i < params->sq_entries; i++)
        array[i] = i;
}

/* Finding a registered ring takes no table of descriptors, which all threads share. Older kernels go by `fd`. */
static void register_ring(struct io_ring *ring) {
    struct registration registration = {.number = UINT32_MAX, .fd = (uint64_t)ring->fd};
    if (syscall(SYS_io_uring_register, ring->fd, REGISTER_RING_FDS, &registration, 1) != 1)
        return;
    ring->registered = (int)registration.number;
    ring->enter_flags |= ENTER_REGISTERED_RING;
}

static void unregister_ring(struct io_ring *ring) {
    struct registration registration = {.number = (uint32_t)ring->registered};
    if (ring->registered >= 0)
        syscall(SYS_io_uring_register, ring->fd, UNREGISTER_RING_FDS, &registration, 1);
    ring->registered = -1;
}

int io_ring_open(struct io_ring *ring, uint32_t submissions, uint32_t completions) {
    struct params params = {
        .flags = SETUP_SQE128 | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN | SETUP_CLAMP | SETUP_CQSIZE,
        .cq_entries = completions,
    };
    int failure;
    memset(ring, 0, sizeof *ring);
    ring->queues = ring->sqes = MAP_FAILED;
    ring->anchor_fd = ring->registered = -1;
    ring->fd = (int)syscall(SYS_io_uring_setup, submissions, &params);
    if (ring->fd < 0)
        return -errno;
    failure = params.features & FEATURE_SINGLE_MMAP && params.features & FEATURE_EXT_ARG ? 0 : -EOPNOTSUPP;
    if (failure == 0 && (params.sq_entries < submissions || params.cq_entries < completions))
        failure = -E2BIG;
    if (failure == 0)
        failure = map_queues(ring, &params);
    if (failure) {
        io_ring_close(ring);
        return failure;
    }
    find_words(ring, &params);
    ring->enter_flags = ENTER_GETEVENTS | ENTER_EXT_ARG | (params.features & FEATURE_NO_IOWAIT ? ENTER_NO_IOWAIT : 0);
    register_ring(ring);
    return 0;
}

void io_ring_close(struct io_ring *ring) {
    if (ring->fd < 0)
        return;
    if ((void *)ring->sqes != MAP_FAILED)
        munmap(ring->sqes, ring->sqes_bytes);
    if (ring->queues != MAP_FAILED)
        munmap(ring->queues, ring->queues_bytes);
    if (ring->anchor_fd >= 0)
        close(ring->anchor_fd);
    unregister_ring(ring);
    close(ring->fd);
    ring->fd = -1;
}

/* A thread that exits looks after its requests if one of them is for another ring (io_uring_files_cancel, req->flags
 * REQ_F_INFLIGHT), and cancels all of its commands then. */
int io_ring_end_with_thread(struct io_ring *ring, uint64_t user_data) {
    struct params params = {0};
    struct io_ring_sqe *sqe;
    ring->anchor_fd = (int)syscall(SYS_io_uring_setup, 1, &params);
    if (ring->anchor_fd < 0)
        return -errno;
    sqe = io_ring_next(ring);
    sqe->opcode = IO_RING_POLL_ADD;
    sqe->fd = ring->anchor_fd;
    sqe->user_data = user_data;
    return 0;
}

struct io_ring_sqe *io_ring_next(struct io_ring *ring) {
    struct io_ring_sqe *sqe = &ring->sqes[ring->tail++ & ring->sq_mask];
    ring->unsubmitted++;
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

int io_ring_enter(struct io_ring *ring, int wait, int64_t timeout_ns) {
    struct io_ring_time timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    struct enter_argument argument = {.timeout = wait && timeout_ns >= 0 ? (uint64_t)(uintptr_t)&timeout : 0};
    long submitted;
    __atomic_store_n(ring->sq_tail, ring->tail, __ATOMIC_RELEASE);
    submitted = syscall(
        SYS_io_uring_enter, ring->registered >= 0 ? ring->registered : ring->fd, ring->unsubmitted, wait ? 1 : 0,
        ring->enter_flags, &argument, sizeof argument);
    if (submitted < 0)
        return -errno;
    ring->unsubmitted -= (uint32_t)submitted;
    return 0;
}
