# Linux's rule for who runs next: EEVDF, "earliest eligible virtual deadline first" (kernel/sched/fair.c of Linux 6.18).
#
# An entity, a task or a group of them, has virtual time: what it has run, divided by its weight. Whoever is behind the
# average, or at it, is eligible, and of those the one with the earliest deadline runs: a slice after its virtual time.
# Names in capitals are the kernel's switches, all of which are on by default.

from libc.stdint cimport int64_t
from libc.math cimport exp

from zramfs.simulate.heap cimport NOBODY

cdef enum:
    TICK_NS = 4000000       # CONFIG_HZ=250

cdef extern from *:
    """
    #define ZRAMFS_LOAD_DECAY_NS 46166241.0
    """
    # PELT: what is 32 ms ago counts half.
    const double LOAD_DECAY_NS "ZRAMFS_LOAD_DECAY_NS"

cdef struct Entity:
    double vruntime, deadline, protected_until      # ns of virtual time
    double lag              # behind the average it was when it left its queue
    double slice_ns
    double weight           # 1: a task's
    double unnoted_ns       # that it has run, and that its vruntime does not have
    int queue, next
    bint is_queued
    bint is_delayed         # it sleeps, and stays queued until it is eligible (DELAY_DEQUEUE)

# PELT's average of something (`struct sched_avg`).
cdef struct Load:
    double weight           # of what there is now: of a queue, all that is in it, asleep or not
    double lately           # that, as it was lately
    int64_t at_ns

cdef struct Queue:
    int first, count
    int current             # of its entities the one that runs, or NOBODY
    Load load               # of what is in it
    Load as_one             # of a group's tasks: whether any is in it, or it waits in its CPU's queue after that

cdef inline double average_of(const Queue *queue, const Entity *entities) noexcept nogil:
    """The virtual time of an entity whose share of the CPU has been right. There is one in the queue."""
    cdef double base = entities[queue.first].vruntime
    cdef double total = 0, weight = 0
    cdef int each = queue.first
    while each != NOBODY:
        total += entities[each].weight * (entities[each].vruntime - base)
        weight += entities[each].weight
        each = entities[each].next
    return base + total / weight

cdef inline bint is_eligible(double average, const Entity *entity) noexcept nogil:
    return entity.vruntime <= average + 0.5

cdef inline int choose(const Queue *queue, const Entity *entities, bint protects) noexcept nogil:
    """Who is to run (`pick_eevdf`); NOBODY if the queue is empty.

    Whoever runs, and is eligible, goes on until its protection ends, if that `protects` it (RUN_TO_PARITY).
    """
    cdef int each = queue.first
    cdef int best = NOBODY
    cdef double average
    if queue.count <= 1:
        return each
    average = average_of(queue, entities)
    if queue.current != NOBODY and protects and is_eligible(average, &entities[queue.current]):
        if entities[queue.current].protected_until > entities[queue.current].vruntime:
            return queue.current
    while each != NOBODY:
        if is_eligible(average, &entities[each]):
            if best == NOBODY or entities[each].deadline <= entities[best].deadline:
                best = each
        each = entities[each].next
    return best if best != NOBODY else queue.first

cdef inline double least_slice(const Queue *queue, const Entity *entities) noexcept nogil:
    cdef double least = entities[queue.first].slice_ns
    cdef int each = entities[queue.first].next
    while each != NOBODY:
        least = min(least, entities[each].slice_ns)
        each = entities[each].next
    return least

cdef inline void protect(const Queue *queue, Entity *entities, int chosen) noexcept nogil:
    """Whoever begins to run is protected for its slice, or the shortest of its queue (`set_protect_slice`)."""
    cdef Entity *entity = &entities[chosen]
    cdef double slice_ns = least_slice(queue, entities)
    entity.protected_until = entity.deadline
    if slice_ns < entity.slice_ns:
        entity.protected_until = min(entity.deadline, entity.vruntime + slice_ns / entity.weight)

cdef inline bint note_run(Entity *entity) noexcept nogil:
    """Add to its virtual time what it has run (`update_curr`); whether others may have the CPU instead."""
    cdef bint is_over
    entity.vruntime += entity.unnoted_ns / entity.weight
    entity.unnoted_ns = 0
    is_over = entity.vruntime >= entity.deadline
    if is_over:
        entity.deadline = entity.vruntime + entity.slice_ns / entity.weight
    return is_over or entity.vruntime >= entity.protected_until

cdef inline void place(const Queue *queue, Entity *entities, int joining) noexcept nogil:
    """Let an entity that joins be as far behind the average as it was when it left (PLACE_LAG)."""
    cdef Entity *entity = &entities[joining]
    cdef double weight = 0
    cdef int each = queue.first
    if each != NOBODY:
        while each != NOBODY:
            weight += entities[each].weight
            each = entities[each].next
        # Its own coming moves the average.
        entity.vruntime = average_of(queue, entities) - entity.lag * (weight + entity.weight) / weight
    entity.deadline = entity.vruntime + entity.slice_ns / entity.weight

cdef inline double lag_of(double average, const Entity *entity) noexcept nogil:
    cdef double most = max(2 * entity.slice_ns, <double>TICK_NS) / entity.weight
    return max(-most, min(average - entity.vruntime, most))

cdef inline void join(Queue *queue, Entity *entities, int joining, int number) noexcept nogil:
    entities[joining].queue = number
    entities[joining].next = queue.first
    entities[joining].is_queued = True
    queue.first = joining
    queue.count += 1

cdef inline void leave(Queue *queue, Entity *entities, int leaving) noexcept nogil:
    cdef int *link = &queue.first
    while link[0] != leaving:
        link = &entities[link[0]].next
    link[0] = entities[leaving].next
    entities[leaving].is_queued = entities[leaving].is_delayed = False
    queue.count -= 1
    if queue.current == leaving:
        queue.current = NOBODY

cdef inline double note_load(Load *load, int64_t now_ns, double change) noexcept nogil:
    """The weight changes; what it was lately."""
    cdef double rest
    if now_ns > load.at_ns:
        if load.lately != load.weight:
            rest = exp((load.at_ns - now_ns) / LOAD_DECAY_NS)
            load.lately = load.lately * rest + load.weight * (1 - rest)
        load.at_ns = now_ns
    load.weight += change
    return load.lately
