# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Where a task runs that wakes up, by Linux's rules: its own CPU, its waker's, an idle one; and how it gets elsewhere.

Placement at wake-up is `select_task_rq_fair`, with one cache for all CPUs; `fair_balance` does the rest.
"""

from libc.stdint cimport int64_t
from libc.math cimport exp
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport Cpu
from zramfs.simulate.eevdf cimport LOAD_DECAY_NS, TICK_NS, Entity, note_load
from zramfs.simulate.fair_queues cimport GROUPS, FairQueues
from zramfs.simulate.heap cimport NOBODY

cdef enum:
    USE_TICKS = 8           # after which it is looked at how busy CPUs are, if no tick of theirs has done so
    IMBALANCE_PERCENT = 108     # of the other CPU's load: (imbalance_pct - 100) / 2 more than 100


cdef class FairPlacement(FairQueues):
    """Likewise; who ran during the last `migration_cost_ns` is not taken by another CPU at its first tries."""

    def __cinit__(self, int cpus, *args, int64_t migration_cost_ns, **kwargs):
        self.migration_cost_ns = migration_cost_ns
        self.busy_ns = <int64_t *>calloc(cpus, sizeof(int64_t))
        self.use = <double *>calloc(cpus, sizeof(double))
        if not (self.busy_ns and self.use):
            raise MemoryError

    def __dealloc__(self):
        free(self.busy_ns)
        free(self.use)

    cdef bint _is_idle(self, int cpu) noexcept nogil:
        cdef const Cpu *own = &self.cpus[cpu]
        return own.current == NOBODY and own.working == NOBODY and not own.is_stepping and self.ready[cpu] == 0

    cdef int _place(self, int64_t now_ns, int runner) noexcept nogil:
        """The CPU for a task that wakes up (`select_task_rq_fair`, with one cache for all CPUs)."""
        cdef int own = self.runners[runner].cpu
        cdef int target = self._affine(now_ns, runner)
        cdef int each, number
        if self._is_idle(target):
            return target
        if self._is_idle(own):
            return own
        if now_ns - self.use_at_ns >= USE_TICKS * TICK_NS:
            self._note_use(now_ns)
        for each in range(1, self.searched + 1):
            number = (target + each) % self.cpu_count
            if self._is_idle(number):
                return number
        return target

    cdef void be_used(self, double share) noexcept nogil:
        """Let all CPUs have been busy for a share of the time by now."""
        cdef int number
        for number in range(self.cpu_count):
            self.use[number] = share
        self._search(share * self.cpu_count)

    cdef void _search(self, double use) noexcept nogil:
        """How many CPUs a task that wakes up is to look at: the fewer, the more all are used (SIS_UTIL)."""
        use /= self.cpu_count * FULL
        self.searched = <int>(self.cpu_count * (1 - min(use * use, 1.0)))

    cdef void _note_use(self, int64_t now_ns) noexcept nogil:
        """How busy CPUs have been lately, and therefore how many are searched (`update_idle_cpu_scan`)."""
        cdef double rest = exp((self.use_at_ns - now_ns) / LOAD_DECAY_NS)
        cdef double total = 0
        cdef int number
        cdef int64_t running_ns
        if now_ns == self.use_at_ns:
            return
        for number in range(self.cpu_count):
            running_ns = now_ns - self.cpus[number].began_ns if self.cpus[number].current != NOBODY else 0
            self.busy_ns[number] += running_ns
            self.use[number] = self.use[number] * rest + (1 - rest) * self.busy_ns[number] / (now_ns - self.use_at_ns)
            self.busy_ns[number] = -running_ns  # which `_account` adds again
            total += self.use[number]
        self.use_at_ns = now_ns
        self._search(total)

    cdef void _account(self, int64_t now_ns, Cpu *cpu) noexcept nogil:
        self.busy_ns[cpu - self.cpus] += now_ns - cpu.began_ns
        FairQueues._account(self, now_ns, cpu)

    cdef int _affine(self, int64_t now_ns, int runner) noexcept nogil:
        """The task's own CPU, or that of whoever wakes it, if there is less load with the task than here without."""
        cdef int own = self.runners[runner].cpu
        cdef int waking = self.active
        cdef double load
        if waking == NOBODY or waking == own or self._is_idle(own):
            return own
        load = self._load_of(now_ns, runner)
        if 100 * (self._cpu_load(now_ns, waking) + load) < IMBALANCE_PERCENT * (self._cpu_load(now_ns, own) - load):
            return waking
        return own

    cdef double _cpu_load(self, int64_t now_ns, int cpu) noexcept nogil:
        return note_load(&self._groups_of(cpu).load, now_ns, 0)

    cdef double _load_of(self, int64_t now_ns, int runner) noexcept nogil:
        """A task's part of its CPU's load (`task_h_load`): that of its group, at most that of one task."""
        cdef double of_all = note_load(&self._tasks_of(runner).load, now_ns, 0)
        return self.entities[self._group_of(runner)].weight * min(1.0, of_all)

    # ---- it is taken by another CPU ---------------------------------------------------------------------------------

    cdef int _pull(self, int64_t now_ns, int from_cpu, int to_cpu, bint takes_hot, double most_load) noexcept nogil:
        """Move a task that waits, and has not run for a while (`task_hot`), unless that does not matter any more.

        Of several that have at most so much load the one that was listed first (`detach_tasks`); NOBODY: none is there.
        """
        cdef int chosen = NOBODY
        cdef int group, each
        for group in range(GROUPS):
            each = self.queues[from_cpu * GROUPS + group].first
            while each != NOBODY:
                if (
                    each != self.cpus[from_cpu].current
                    and not self.entities[each].is_delayed
                    and (takes_hot or now_ns - self.ran_at_ns[each] >= self.migration_cost_ns)
                    and (chosen == NOBODY or self.listed_at_ns[each] < self.listed_at_ns[chosen])
                    and (most_load == ANY_LOAD or self._load_of(now_ns, each) <= most_load)
                ):
                    chosen = each
                each = self.entities[each].next
        if chosen != NOBODY:
            self._move(now_ns, chosen, to_cpu)
        return chosen

    cdef void _move(self, int64_t now_ns, int runner, int cpu) noexcept nogil:
        cdef Entity *own = &self.entities[runner]
        cdef double left_ns = own.deadline - own.vruntime
        self.ready[self.runners[runner].cpu] -= 1
        note_load(&self._tasks_of(runner).load, now_ns, -1)
        self._remove(self.runners[runner].cpu, runner)
        self.runners[runner].cpu = cpu
        self._join(now_ns, cpu, runner)
        own.deadline = own.vruntime + left_ns
