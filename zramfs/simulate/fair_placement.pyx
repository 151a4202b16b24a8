# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Where a task runs that wakes up, by Linux's rules: its own CPU, its waker's, an idle one; and how it gets elsewhere.

Placement at wake-up is `select_task_rq_fair`, with one cache for all CPUs; `fair_balance` does the rest.
"""

from libc.stdint cimport int64_t
from libc.math cimport exp
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport Cpu
from zramfs.simulate.eevdf cimport LOAD_DECAY_NS, TICK_NS, Entity, Queue, note_load
from zramfs.simulate.fair_queues cimport FairQueues
from zramfs.simulate.heap cimport NOBODY

cdef enum:
    NS_PER_S = 1000000000
    USE_TICKS = 8           # after which it is looked at how busy CPUs are, if no tick of theirs has done so
    IMBALANCE_PERCENT = 108     # of the other CPU's load: (imbalance_pct - 100) / 2 more than 100


cdef class FairPlacement(FairQueues):
    """Likewise; who ran during the last `migration_cost_ns` is not taken by another CPU at its first tries."""

    def __cinit__(self, int cpus, int runners, *args, int64_t migration_cost_ns, **kwargs):
        cdef int number
        self.migration_cost_ns = migration_cost_ns
        self.busy_ns = <int64_t *>calloc(cpus, sizeof(int64_t))
        self.use = <double *>calloc(cpus, sizeof(double))
        self.used_before = <int *>calloc(max(runners, 1), sizeof(int))
        self.wakers = <Waker *>calloc(max(runners, 1), sizeof(Waker))
        if not (self.busy_ns and self.use and self.wakers and self.used_before):
            raise MemoryError
        for number in range(runners):
            self.wakers[number].last = self.used_before[number] = NOBODY

    def __dealloc__(self):
        free(self.busy_ns)
        free(self.use)
        free(self.wakers)
        free(self.used_before)

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
        number = self.used_before[runner]
        self.used_before[runner] = own
        if number != NOBODY and self._is_idle(number):
            return number
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

    cdef void _note_waking(self, int64_t now_ns, int waker, int woken) noexcept nogil:
        cdef Waker *own = &self.wakers[waker]
        if now_ns > own.halved_at_ns + NS_PER_S:
            own.flips //= 2
            own.halved_at_ns = now_ns
        if own.last != woken:
            own.last = woken
            own.flips += 1

    cdef bint _is_wide(self, int waker, int woken) noexcept nogil:
        """Whether a task wakes so many others that it is not for them to come to its CPU (`wake_wide`)."""
        cdef int more = max(self.wakers[waker].flips, self.wakers[woken].flips)
        cdef int less = min(self.wakers[waker].flips, self.wakers[woken].flips)
        return less >= self.cpu_count and more >= less * self.cpu_count

    cdef int _affine(self, int64_t now_ns, int runner) noexcept nogil:
        """The task's own CPU, or that of whoever wakes it, if there is less load with the task than here without."""
        cdef int own = self.runners[runner].cpu
        cdef int waking = self.active
        cdef int timers = own if self.interrupted == NOBODY else self.interrupted
        cdef int waker = self.cpus[timers if waking == NOBODY else waking].current
        cdef double load
        if waker != NOBODY:
            self._note_waking(now_ns, waker, runner)
        if waking == NOBODY or waking == own or self._is_idle(own):
            return own
        if waker != NOBODY and self._is_wide(waker, runner):
            return own
        load = self._load_of(now_ns, runner)
        if 100 * (self._cpu_load(now_ns, waking) + load) < IMBALANCE_PERCENT * (self._cpu_load(now_ns, own) - load):
            return waking
        return own

    cdef double _cpu_load(self, int64_t now_ns, int cpu) noexcept nogil:
        return note_load(&self._groups_of(cpu).load, now_ns, 0)

    cdef double _load_of(self, int64_t now_ns, int runner) noexcept nogil:
        """A task's part of its CPU's load (`task_h_load`): of its group's, by its own part of that."""
        cdef Queue *tasks = self._tasks_of(runner)
        cdef double of_group = self.entities[self._group_of(runner)].weight * note_load(&tasks.as_one, now_ns, 0)
        cdef double own = note_load(&self.own_load[runner], now_ns, 0)
        return of_group * min(1.0, own / max(note_load(&tasks.load, now_ns, 0), LEAST_LOAD))

    # ---- it is taken by another CPU ---------------------------------------------------------------------------------

    cdef int _pull(self, int64_t now_ns, int from_cpu, int to_cpu, bint takes_hot, double most_load) noexcept nogil:
        """Move a task that waits, and has not run for a while (`task_hot`), unless that does not matter any more.

        Of several that have at most so much load the one that was listed first (`detach_tasks`); NOBODY: none is there.
        """
        cdef int chosen = NOBODY
        cdef int group = self._groups_of(from_cpu).first
        cdef int each
        while group != NOBODY:
            each = self.queues[group - self.runner_count].first
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
            group = self.entities[group].next
        if chosen != NOBODY:
            self._move(now_ns, chosen, to_cpu)
        return chosen

    cdef void _move(self, int64_t now_ns, int runner, int cpu) noexcept nogil:
        cdef Entity *own = &self.entities[runner]
        cdef double left_ns = own.deadline - own.vruntime
        self.ready[self.runners[runner].cpu] -= 1
        note_load(&self.ready_load[self.runners[runner].cpu], now_ns, -1)
        note_load(&self.own_ready[runner], now_ns, -1)
        self._remove(self.runners[runner].cpu, runner)
        self._take_along(now_ns, runner, cpu)
        self._join(now_ns, cpu, runner)
        own.deadline = own.vruntime + left_ns
        if self.cpus[cpu].current != NOBODY:
            self._claim(now_ns, cpu, runner)

    cdef void _claim(self, int64_t now_ns, int cpu, int runner) noexcept nogil:
        """A task has come to a CPU that runs another: `FairCpus` says which of them goes on."""

    # ---- and its load with it ---------------------------------------------------------------------------------------

    cdef void _take_along(self, int64_t now_ns, int runner, int cpu) noexcept nogil:
        """Let a task that is in no queue be one of another CPU from now on, and its load as well.

        Source: `update_tg_cfs_load`.
        """
        cdef double own = note_load(&self.own_load[runner], now_ns, 0)
        cdef Queue *tasks = self._tasks_of(runner)
        cdef double ready = note_load(&self.own_ready[runner], now_ns, 0)
        cdef double rest = 0
        if self.runners[runner].cpu == cpu:
            return
        tasks.load.lately = max(0.0, note_load(&tasks.load, now_ns, 0) - own)
        if tasks.load.weight > 0:
            rest = tasks.load.lately / tasks.load.weight
        self._set_lately(now_ns, self._group_of(runner), min(rest, note_load(&tasks.as_one, now_ns, 0)))
        note_load(&self.ready_load[self.runners[runner].cpu], now_ns, 0)
        self.ready_load[self.runners[runner].cpu].lately -= ready
        self.runners[runner].cpu = cpu
        tasks = self._tasks_of(runner)
        tasks.load.lately = note_load(&tasks.load, now_ns, 0) + own
        self._set_lately(now_ns, self._group_of(runner), min(1.0, note_load(&tasks.as_one, now_ns, 0) + own))
        note_load(&self.ready_load[cpu], now_ns, 0)
        self.ready_load[cpu].lately += ready

    cdef void _set_lately(self, int64_t now_ns, int group, double lately) noexcept nogil:
        """Let a group have been in its CPU's queue for such a share of the time."""
        cdef Queue *tasks = &self.queues[group - self.runner_count]
        cdef Queue *groups = self._groups_of((group - self.runner_count) % self.cpu_count)
        note_load(&groups.load, now_ns, 0)
        groups.load.lately += self.entities[group].weight * (lately - tasks.as_one.lately)
        tasks.as_one.lately = lately
