# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""CPUs whose tasks share them as Linux 6.18 lets them: `eevdf` says who runs, this file when that is asked, and where.

Tasks are in groups, as sessions are (autogroup): the groups of a CPU share it first, and the tasks of each its share. A
task that wakes up goes where it ran last, or to an idle CPU, or to that of whoever woke it, if there is less load. It
takes the CPU at once if it is then the one to choose; else a tick, a sleep or a yield asks again.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport NOT_COUNTED, Cpu, Cpus, Runner
from zramfs.simulate.eevdf cimport (
    TICK_NS,
    Entity,
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

cdef enum:
    YIELD_NS = 1000         # of looking for work, between two yields: a read of /dev/fuse, about
    BUSY_BALANCE_TICKS = 8  # sd->balance_interval of two CPUs, times busy_factor: 32 ms
    BALANCE_TRIES = 1       # cache_nice_tries, after which a task is moved that ran just now
    IMBALANCE_PERCENT = 108     # of the other CPU's load: (imbalance_pct - 100) / 2 more than 100


cdef class FairCpus(Cpus):
    """Likewise; `bulk_slice_ns` is that of tasks that work in bulk."""

    def __cinit__(self, int cpus, int runners, int works, *, int64_t slice_ns, int64_t bulk_slice_ns, int64_t migration_cost_ns, **kwargs):
        cdef int number
        self.slice_ns, self.bulk_slice_ns, self.migration_cost_ns = slice_ns, bulk_slice_ns, migration_cost_ns
        self.entities = <Entity *>calloc(runners + cpus * GROUPS, sizeof(Entity))
        self.queues = <Queue *>calloc(cpus * (GROUPS + 1), sizeof(Queue))
        self.ready = <int *>calloc(cpus, sizeof(int))
        self.failed_balances = <int *>calloc(cpus, sizeof(int))
        self.is_shared = <bint *>calloc(cpus, sizeof(bint))
        self.tick_at_ns = <int64_t *>calloc(cpus, sizeof(int64_t))
        self.ran_at_ns = <int64_t *>calloc(max(runners, 1), sizeof(int64_t))
        if not (self.entities and self.queues and self.ready and self.failed_balances and self.is_shared and self.tick_at_ns and self.ran_at_ns):
            raise MemoryError
        for number in range(runners + cpus * GROUPS):
            self.entities[number].weight = 1
        for number in range(cpus * (GROUPS + 1)):
            self.queues[number].first = self.queues[number].current = NOBODY

    def __dealloc__(self):
        free(self.entities)
        free(self.queues)
        free(self.ready)
        free(self.failed_balances)
        free(self.is_shared)
        free(self.tick_at_ns)
        free(self.ran_at_ns)

    cdef Queue *_tasks_of(self, int runner) noexcept nogil:
        return &self.queues[self.runners[runner].cpu * GROUPS + self.runners[runner].group]

    cdef Queue *_groups_of(self, int cpu) noexcept nogil:
        return &self.queues[self.cpu_count * GROUPS + cpu]

    cdef int _group_of(self, int runner) noexcept nogil:
        """The entity of a task's group on its CPU."""
        return self.runner_count + self.runners[runner].cpu * GROUPS + self.runners[runner].group

    # ---- a task wakes up --------------------------------------------------------------------------------------------

    cdef void wake(self, int64_t now_ns, int runner) noexcept nogil:
        cdef int number = self.runners[runner].cpu
        cdef Cpu *cpu
        if not self.entities[runner].is_queued:  # else it has not left its CPU yet
            number = self._place(now_ns, runner)
        cpu = &self.cpus[number]
        self.runners[runner].remaining_ns += self._way_ns(now_ns, number, runner)
        self.runners[runner].cpu = number
        self._join(now_ns, number, runner)
        if cpu.current == NOBODY:
            if not cpu.is_stepping and cpu.working == NOBODY:
                self.resume(now_ns, number)
            return
        cpu.is_preempted |= self._preempts(now_ns, number, runner)
        if cpu.is_stepping or cpu.working != NOBODY or self.runners[cpu.current].keeps_cpu:
            return
        if cpu.is_preempted or not self.is_shared[number]:
            self._account(now_ns, cpu)
            self.resume(now_ns, number)

    cdef bint _is_idle(self, int cpu) noexcept nogil:
        cdef const Cpu *own = &self.cpus[cpu]
        return own.current == NOBODY and own.working == NOBODY and not own.is_stepping and self.ready[cpu] == 0

    cdef int _place(self, int64_t now_ns, int runner) noexcept nogil:
        """The CPU for a task that wakes up (`select_task_rq_fair`, with one cache for all CPUs)."""
        cdef int own = self.runners[runner].cpu
        cdef int target = self._affine(now_ns, runner)
        cdef int number
        if self._is_idle(target):
            return target
        if self._is_idle(own):
            return own
        for number in range(self.cpu_count):
            if self._is_idle(number):
                return number
        return target

    cdef int _affine(self, int64_t now_ns, int runner) noexcept nogil:
        """The task's own CPU, or that of whoever wakes it, if there is less load with the task than here without."""
        cdef int own = self.runners[runner].cpu
        cdef int waking = self.active
        cdef double here, there, load
        if waking == NOBODY or waking == own or self._is_idle(own):
            return own
        note_load(self._groups_of(own), now_ns, 0)
        note_load(self._groups_of(waking), now_ns, 0)
        note_load(self._tasks_of(runner), now_ns, 0)
        load = self.entities[self._group_of(runner)].weight * min(1.0, self._tasks_of(runner).load)
        here = self._groups_of(own).load - load
        there = self._groups_of(waking).load + load
        return waking if 100 * there < IMBALANCE_PERCENT * here else own

    cdef void _join(self, int64_t now_ns, int cpu, int runner) noexcept nogil:
        """Let a task be in the queue of its group, and that in the queue of its CPU."""
        cdef Queue *tasks = self._tasks_of(runner)
        cdef Queue *groups = self._groups_of(cpu)
        cdef int group = self._group_of(runner)
        self.ready[cpu] += 1
        note_load(tasks, now_ns, 1)
        if self.entities[runner].is_queued:
            self._rejoin(tasks, runner)
        else:
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
            note_load(groups, now_ns, self.entities[group].weight)
        else:
            if self.entities[group].is_delayed:
                self._rejoin(groups, group)
                note_load(groups, now_ns, self.entities[group].weight)
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
        cdef Queue *groups = self._groups_of(cpu)
        cdef Entity *own = &self.entities[group]
        cdef double here, total, weight, average
        cdef int number
        total = 0
        for number in range(self.cpu_count):
            note_load(&self.queues[number * GROUPS + place_of], now_ns, 0)
            total += self.queues[number * GROUPS + place_of].load
        here = max(self.queues[cpu * GROUPS + place_of].weight, self.queues[cpu * GROUPS + place_of].load)
        total += here - self.queues[cpu * GROUPS + place_of].load
        weight = max(0.002, min(1.0, here / total)) if total > 0 else 1.0
        if own.is_queued and weight != own.weight:
            if groups.count > 1:  # its lag stays, as do what is left of its slice and protection (`reweight_eevdf`)
                average = average_of(groups, self.entities)
                own.deadline = (own.deadline - own.vruntime) * own.weight / weight
                own.protected_until = (own.protected_until - own.vruntime) * own.weight / weight
                own.vruntime = average - (average - own.vruntime) * own.weight / weight
                own.deadline += own.vruntime
                own.protected_until += own.vruntime
            note_load(groups, now_ns, 0 if own.is_delayed else weight - own.weight)
        own.weight = weight

    cdef bint _preempts(self, int64_t now_ns, int cpu, int runner) noexcept nogil:
        """Whether a task that has woken up gets the CPU at once (`check_preempt_wakeup_fair`)."""
        cdef int current = self.cpus[cpu].current
        cdef Queue *queue
        cdef int one, other
        cdef bint is_shorter
        if self.runners[current].group == self.runners[runner].group:
            queue, one, other = self._tasks_of(runner), current, runner
        else:
            queue, one, other = self._groups_of(cpu), self._group_of(current), self._group_of(runner)
        self._note_runs(now_ns, cpu, queue)
        is_shorter = self.entities[other].slice_ns < self.entities[one].slice_ns
        if choose(queue, self.entities, not is_shorter) == other:
            if is_shorter:  # PREEMPT_SHORT
                self.entities[one].protected_until = self.entities[one].vruntime
            return True
        if is_shorter:
            self.entities[one].protected_until = min(
                self.entities[one].protected_until,
                self.entities[one].vruntime + least_slice(queue, self.entities) / self.entities[one].weight,
            )
        if self.runners[current].is_spinning:
            self._yield(now_ns, cpu)
            return True
        return False

    # ---- a task runs ------------------------------------------------------------------------------------------------

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

    cdef bint _is_due(self, const Cpu *cpu) noexcept nogil:
        return cpu.is_preempted and cpu.current != NOBODY and not self.runners[cpu.current].keeps_cpu

    cdef int64_t _choose_runner(self, int64_t now_ns, Cpu *cpu) noexcept nogil:
        cdef int number = <int>(cpu - self.cpus)
        cdef int64_t ns
        cdef Runner *runner
        if self.is_shared[number] and now_ns >= self.tick_at_ns[number] and cpu.current != NOBODY:
            self._tick(now_ns, number)
        if self._is_due(cpu) or cpu.current == NOBODY:
            cpu.is_preempted = False
            cpu.current = self._choose_task(number)
            if cpu.current == NOBODY and self._pull_any(now_ns, number):
                cpu.current = self._choose_task(number)
            if cpu.current == NOBODY:
                return -1
        runner = &self.runners[cpu.current]
        ns = runner.remaining_ns if not runner.poll_until_ns else max(runner.poll_until_ns - now_ns, <int64_t>0)
        self.is_shared[number] = self.ready[number] > 1 and not runner.keeps_cpu
        if self.is_shared[number]:
            self.tick_at_ns[number] = now_ns + TICK_NS - now_ns % TICK_NS
            ns = min(ns, self.tick_at_ns[number] - now_ns)
            if runner.is_spinning:
                ns = min(ns, <int64_t>YIELD_NS)
        return ns

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
            self.entities[runner].unnoted_ns = 0
            protect(tasks, self.entities, runner)

    cdef void _tick(self, int64_t now_ns, int cpu) noexcept nogil:
        """The timer's interrupt: who runs may have had its slice, and other CPUs may take what waits."""
        cdef int current = self.cpus[cpu].current
        self._note_runs(now_ns, cpu, self._tasks_of(current))
        self._note_runs(now_ns, cpu, self._groups_of(cpu))
        self._weigh(now_ns, cpu, current)
        self._balance(now_ns, cpu)

    cdef void _go_on_with(self, int64_t now_ns, int cpu) noexcept nogil:
        if self.runners[self.cpus[cpu].current].is_spinning and self.ready[cpu] > 1:
            self._yield(now_ns, cpu)
            self.cpus[cpu].is_preempted = True

    cdef void _yield(self, int64_t now_ns, int cpu) noexcept nogil:
        """`sched_yield`: give up what is left of the slice, if there is a claim to it."""
        cdef int current = self.cpus[cpu].current
        cdef Queue *tasks = self._tasks_of(current)
        cdef Entity *own = &self.entities[current]
        self._note_runs(now_ns, cpu, tasks)
        if is_eligible(average_of(tasks, self.entities), own):
            own.vruntime = own.deadline
            own.deadline += own.slice_ns

    # ---- it spins, or sleeps ----------------------------------------------------------------------------------------

    cdef bint spin(self, int runner, int64_t until_ns) noexcept nogil:
        self.poll_until(runner, until_ns)
        self.runners[runner].purpose = NOT_COUNTED
        self.runners[runner].is_spinning = True
        return True

    cdef bint rouse(self, int64_t now_ns, int runner) noexcept nogil:
        cdef Cpu *cpu = &self.cpus[self.runners[runner].cpu]
        if not self.runners[runner].is_spinning:
            return False
        self.runners[runner].is_spinning = False
        if cpu.current == runner and cpu.working == NOBODY and not cpu.is_stepping:
            self._account(now_ns, cpu)
            self.run_for(runner, 0, NOT_COUNTED)
            self.resume(now_ns, self.runners[runner].cpu)
        else:
            self.run_for(runner, 0, NOT_COUNTED)
        return True

    cdef void sleep(self, int runner) noexcept nogil:
        """A task that has had more than its share stays in the competition until it has made up for that."""
        cdef int cpu = self.runners[runner].cpu
        cdef Queue *tasks = self._tasks_of(runner)
        self.ready[cpu] -= 1
        self.cpus[cpu].current = NOBODY
        self.runners[runner].is_spinning = False
        note_load(tasks, self.clock_ns, -1)
        note_run(&self.entities[runner])
        note_run(&self.entities[self._group_of(runner)])
        tasks.current = NOBODY
        if is_eligible(average_of(tasks, self.entities), &self.entities[runner]):
            self._remove(cpu, runner)
        else:
            self.entities[runner].is_delayed = True

    cdef void _remove(self, int cpu, int runner) noexcept nogil:
        """Take a task out, and its group with the last one."""
        cdef Queue *tasks = self._tasks_of(runner)
        self.entities[runner].lag = lag_of(average_of(tasks, self.entities), &self.entities[runner])
        leave(tasks, self.entities, runner)
        self._follow(cpu, self._group_of(runner))

    cdef void _follow(self, int cpu, int group) noexcept nogil:
        """A task has left its group, which has other slices now, or leaves as well."""
        cdef Queue *tasks = &self.queues[group - self.runner_count]
        cdef Queue *groups = self._groups_of(cpu)
        cdef double average
        if tasks.count:
            self.entities[group].slice_ns = least_slice(tasks, self.entities)
            return
        note_load(groups, self.clock_ns, -self.entities[group].weight)
        average = average_of(groups, self.entities)
        if is_eligible(average, &self.entities[group]):
            self.entities[group].lag = lag_of(average, &self.entities[group])
            leave(groups, self.entities, group)
        else:
            self.entities[group].is_delayed = True
            if groups.current == group:
                groups.current = NOBODY

    cdef void _leave_asleep(self, int cpu, Queue *queue, int entity) noexcept nogil:
        """It was to run, and sleeps: it has made up for what it had, and keeps nothing (DELAY_ZERO)."""
        self.entities[entity].lag = min(0.0, lag_of(average_of(queue, self.entities), &self.entities[entity]))
        leave(queue, self.entities, entity)
        if entity < self.runner_count:
            self._follow(cpu, self._group_of(entity))

    # ---- CPUs that have little to do take tasks ---------------------------------------------------------------------

    cdef void _balance(self, int64_t now_ns, int cpu) noexcept nogil:
        """At a tick, let a task go to a CPU that is idle; and now and then to one that has less to do."""
        cdef bint is_time = (now_ns // TICK_NS) % BUSY_BALANCE_TICKS == 0
        cdef int number
        for number in range(self.cpu_count):
            if self.ready[cpu] < 2:
                return
            if number == cpu or not (self._is_idle(number) or (is_time and self.ready[number] + 2 <= self.ready[cpu])):
                continue
            if not self._pull(now_ns, cpu, number, self.failed_balances[number] > BALANCE_TRIES):
                self.failed_balances[number] += 1
                continue
            self.failed_balances[number] = 0
            if self.cpus[number].current == NOBODY and self.cpus[number].working == NOBODY:
                self.resume(now_ns, number)

    cdef bint _pull_any(self, int64_t now_ns, int cpu) noexcept nogil:
        """A CPU that becomes idle takes a task that waits for another (`sched_balance_newidle`)."""
        cdef int number
        for number in range(self.cpu_count):
            if number != cpu and self.ready[number] > 1 and self._pull(now_ns, number, cpu, False):
                return True
        return False

    cdef bint _pull(self, int64_t now_ns, int from_cpu, int to_cpu, bint takes_hot) noexcept nogil:
        """Move a task that waits, and has not run for a while (`task_hot`), unless that does not matter any more."""
        cdef int group, each
        for group in range(GROUPS):
            each = self.queues[from_cpu * GROUPS + group].first
            while each != NOBODY:
                if (
                    each != self.cpus[from_cpu].current
                    and not self.entities[each].is_delayed
                    and (takes_hot or now_ns - self.ran_at_ns[each] >= self.migration_cost_ns)
                ):
                    self._move(now_ns, each, to_cpu)
                    return True
                each = self.entities[each].next
        return False

    cdef void _move(self, int64_t now_ns, int runner, int cpu) noexcept nogil:
        cdef Entity *own = &self.entities[runner]
        cdef double left_ns = own.deadline - own.vruntime
        self.ready[self.runners[runner].cpu] -= 1
        note_load(self._tasks_of(runner), now_ns, -1)
        self._remove(self.runners[runner].cpu, runner)
        self.runners[runner].cpu = cpu
        self._join(now_ns, cpu, runner)
        own.deadline = own.vruntime + left_ns

    def __repr__(self):
        return f"<FairCpus {[self.ready[number] for number in range(self.cpu_count)]} ready>"
