# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The queues of CPUs that share themselves as Linux lets them: tasks in groups, and the groups of each CPU.

Who is in them, with which weight, and who is chosen; when that is asked is the matter of `fair_cpus`.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport Cpu, Cpus
from zramfs.simulate.eevdf cimport (
    Entity,
    Load,
    Queue,
    average_of,
    choose,
    is_eligible,
    join,
    lag_of,
    leave,
    least_slice,
    note_load,
    note_run,
    place,
    protect,
)
from zramfs.simulate.heap cimport NOBODY


cdef class FairQueues(Cpus):
    """Likewise; tasks have slices of `slice_ns`, and of `bulk_slice_ns` if they work in bulk."""

    def __cinit__(
        self, int cpus, int runners, int works, *, int64_t slice_ns, int64_t bulk_slice_ns, int groups,
        **kwargs
    ):
        cdef int number
        self.slice_ns, self.bulk_slice_ns, self.groups = slice_ns, bulk_slice_ns, groups
        self.entities = <Entity *>calloc(runners + cpus * groups, sizeof(Entity))
        self.queues = <Queue *>calloc(cpus * (groups + 1), sizeof(Queue))
        self.own_load = <Load *>calloc(max(runners, 1), sizeof(Load))
        self.own_ready = <Load *>calloc(max(runners, 1), sizeof(Load))
        self.ready_load = <Load *>calloc(cpus, sizeof(Load))
        self.ready = <int *>calloc(cpus, sizeof(int))
        self.ran_at_ns = <int64_t *>calloc(max(runners, 1), sizeof(int64_t))
        self.listed_at_ns = <int64_t *>calloc(max(runners, 1), sizeof(int64_t))
        if not (self.entities and self.queues and self.own_load and self.own_ready and self.ready_load):
            raise MemoryError
        if not (self.ready and self.ran_at_ns and self.listed_at_ns):
            raise MemoryError
        for number in range(runners + cpus * groups):
            self.entities[number].weight = 1
        for number in range(cpus * (groups + 1)):
            self.queues[number].first = self.queues[number].current = NOBODY

    def __dealloc__(self):
        free(self.entities)
        free(self.queues)
        free(self.own_load)
        free(self.own_ready)
        free(self.ready_load)
        free(self.ready)
        free(self.ran_at_ns)
        free(self.listed_at_ns)

    cdef Queue *_tasks_of(self, int runner) noexcept nogil:
        return &self.queues[self.runners[runner].group * self.cpu_count + self.runners[runner].cpu]

    cdef Queue *_groups_of(self, int cpu) noexcept nogil:
        return &self.queues[self.groups * self.cpu_count + cpu]

    cdef int _group_of(self, int runner) noexcept nogil:
        """The entity of a task's group on its CPU."""
        return self.runner_count + self.runners[runner].group * self.cpu_count + self.runners[runner].cpu

    # ---- tasks come -------------------------------------------------------------------------------------------------

    cdef void _join(self, int64_t now_ns, int cpu, int runner) noexcept nogil:
        """Let a task be in the queue of its group, and that in the queue of its CPU."""
        cdef Queue *tasks = self._tasks_of(runner)
        cdef Queue *groups = self._groups_of(cpu)
        cdef int group = self._group_of(runner)
        self.ready[cpu] += 1
        self.is_overloaded |= self.ready[cpu] > 1
        self.listed_at_ns[runner] = now_ns
        note_load(&self.ready_load[cpu], now_ns, 1)
        note_load(&self.own_ready[runner], now_ns, 1)
        if self.entities[runner].is_queued:
            self._rejoin(tasks, runner)
        else:
            note_load(&tasks.load, now_ns, 1)
            note_load(&self.own_load[runner], now_ns, 1)
            self._note_runs(now_ns, cpu, tasks)
            self.entities[runner].slice_ns = self.bulk_slice_ns if self.runners[runner].is_bulk else self.slice_ns
            place(tasks, self.entities, runner)
            join(tasks, self.entities, runner, 0)
        self.entities[group].slice_ns = least_slice(tasks, self.entities)
        if not self.entities[group].is_queued:
            self._note_runs(now_ns, cpu, groups)
            self._weigh(now_ns, cpu, runner)
            place(groups, self.entities, group)
            join(groups, self.entities, group, 0)
            note_load(&groups.load, now_ns, self.entities[group].weight)
            note_load(&tasks.as_one, now_ns, 1)
        else:
            if self.entities[group].is_delayed:
                self._rejoin(groups, group)
            self._weigh(now_ns, cpu, runner)

    cdef void _rejoin(self, Queue *queue, int entity) noexcept nogil:
        """One that was about to leave stays (`requeue_delayed_entity`), and brings nothing with it (DELAY_ZERO).

        What runs now has not been noted since it began, and that is how it is judged.
        """
        cdef Entity *own = &self.entities[entity]
        own.is_delayed = False
        if queue.count > 1 and average_of(queue, self.entities) > own.vruntime:
            leave(queue, self.entities, entity)
            own.lag = 0
            place(queue, self.entities, entity)
            join(queue, self.entities, entity, 0)

    cdef void _weigh(self, int64_t now_ns, int cpu, int runner) noexcept nogil:
        """A group's weight is that of one task, divided by where its load is (`calc_group_shares`)."""
        cdef int group = self._group_of(runner)
        cdef int place_of = self.runners[runner].group
        cdef Queue *tasks = self._tasks_of(runner)
        cdef Queue *groups = self._groups_of(cpu)
        cdef Entity *own = &self.entities[group]
        cdef double here, total, weight, average
        cdef int number
        total = 0
        for number in range(self.cpu_count):
            total += note_load(&self.queues[place_of * self.cpu_count + number].load, now_ns, 0)
        here = max(tasks.load.weight, tasks.load.lately)
        total += here - tasks.load.lately
        weight = max(0.002, min(1.0, here / total)) if total > 0 else 1.0
        if own.is_queued and weight != own.weight:
            if groups.count > 1:  # its lag stays, as do what is left of its slice and protection (`reweight_eevdf`)
                average = average_of(groups, self.entities)
                own.deadline = (own.deadline - own.vruntime) * own.weight / weight
                own.protected_until = (own.protected_until - own.vruntime) * own.weight / weight
                own.vruntime = average - (average - own.vruntime) * own.weight / weight
                own.deadline += own.vruntime
                own.protected_until += own.vruntime
            note_load(&groups.load, now_ns, weight - own.weight)
        note_load(&groups.load, now_ns, 0)
        groups.load.lately += (weight - own.weight) * note_load(&tasks.as_one, now_ns, 0)
        own.weight = weight

    # ---- and go -----------------------------------------------------------------------------------------------------

    cdef void _remove(self, int cpu, int runner) noexcept nogil:
        """Take a task out, and its group with the last one."""
        cdef Queue *tasks = self._tasks_of(runner)
        self.entities[runner].lag = lag_of(average_of(tasks, self.entities), &self.entities[runner])
        leave(tasks, self.entities, runner)
        note_load(&tasks.load, self.clock_ns, -1)
        note_load(&self.own_load[runner], self.clock_ns, -1)
        self._follow(cpu, self._group_of(runner))

    cdef void _follow(self, int cpu, int group) noexcept nogil:
        """A task has left its group, which has other slices now, or leaves as well."""
        cdef Queue *tasks = &self.queues[group - self.runner_count]
        cdef Queue *groups = self._groups_of(cpu)
        cdef double average
        if tasks.count:
            self.entities[group].slice_ns = least_slice(tasks, self.entities)
            return
        average = average_of(groups, self.entities)
        if is_eligible(average, &self.entities[group]):
            self.entities[group].lag = lag_of(average, &self.entities[group])
            leave(groups, self.entities, group)
            note_load(&groups.load, self.clock_ns, -self.entities[group].weight)
            note_load(&tasks.as_one, self.clock_ns, -1)
        else:
            self.entities[group].is_delayed = True
            if groups.current == group:
                groups.current = NOBODY

    cdef void _leave_asleep(self, int cpu, Queue *queue, int entity) noexcept nogil:
        """It was to run, and sleeps: it has made up for what it had, and keeps nothing (DELAY_ZERO)."""
        self.entities[entity].lag = min(0.0, lag_of(average_of(queue, self.entities), &self.entities[entity]))
        leave(queue, self.entities, entity)
        note_load(&queue.load, self.clock_ns, -self.entities[entity].weight)
        if entity < self.runner_count:
            note_load(&self.own_load[entity], self.clock_ns, -1)
            self._follow(cpu, self._group_of(entity))
        else:
            note_load(&self.queues[entity - self.runner_count].as_one, self.clock_ns, -1)

    # ---- what they have run, and who is next -------------------------------------------------------------------------

    cdef void _account(self, int64_t now_ns, Cpu *cpu) noexcept nogil:
        cdef int64_t ns = now_ns - cpu.began_ns
        Cpus._account(self, now_ns, cpu)
        self.entities[cpu.current].unnoted_ns += ns
        self.entities[self._group_of(cpu.current)].unnoted_ns += ns
        self.ran_at_ns[cpu.current] = now_ns

    cdef void _note_runs(self, int64_t now_ns, int cpu, Queue *queue) noexcept nogil:
        """Note what the entity of a queue has run by now; it may have had its time."""
        cdef Cpu *own = &self.cpus[cpu]
        if queue.current == NOBODY:
            return
        if own.current != NOBODY and own.working == NOBODY:
            self._account(now_ns, own)
        if note_run(&self.entities[queue.current]) and queue.count > 1:
            own.is_preempted = True

    cdef int _choose_task(self, int cpu) noexcept nogil:
        """The task that is to run, of the group that is to (`pick_task_fair`); NOBODY if all sleep."""
        cdef Queue *groups = self._groups_of(cpu)
        cdef Queue *tasks
        cdef int group, chosen
        if groups.current != NOBODY:
            note_run(&self.entities[groups.current])
            tasks = &self.queues[groups.current - self.runner_count]
            if tasks.current != NOBODY:
                note_run(&self.entities[tasks.current])
        while groups.count:
            group = choose(groups, self.entities, True)
            if self.entities[group].is_delayed:
                self._leave_asleep(cpu, groups, group)
                continue
            tasks = &self.queues[group - self.runner_count]
            chosen = choose(tasks, self.entities, True)
            if not self.entities[chosen].is_delayed:
                self._begin_to_run(cpu, group, chosen)
                return chosen
            self._leave_asleep(cpu, tasks, chosen)
        groups.current = NOBODY
        return NOBODY

    cdef void _begin_to_run(self, int cpu, int group, int runner) noexcept nogil:
        cdef Queue *groups = self._groups_of(cpu)
        cdef Queue *tasks = self._tasks_of(runner)
        if groups.current != group:
            if groups.current != NOBODY:
                self.queues[groups.current - self.runner_count].current = NOBODY
            groups.current = group
            self.entities[group].unnoted_ns = 0
            protect(groups, self.entities, group)
        if tasks.current != runner:
            tasks.current = runner
            self.listed_at_ns[runner] = self.clock_ns
            self.entities[runner].unnoted_ns = 0
            protect(tasks, self.entities, runner)

    def __repr__(self):
        return f"<FairQueues {[self.ready[number] for number in range(self.cpu_count)]} ready>"
