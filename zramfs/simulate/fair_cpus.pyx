# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""CPUs whose tasks share them as Linux 6.18 lets them: `eevdf` says who runs, this file when that is asked.

Tasks are in groups, as sessions are (autogroup): the groups of a CPU share it first, and the tasks of each its share. A
task that wakes up takes the CPU at once if it is then the one to choose; else a tick, a sleep or a yield asks again.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.cpus cimport NOT_COUNTED, Cpu, Cpus, Runner
from zramfs.simulate.draws cimport draw_bits
from zramfs.simulate.eevdf cimport (
    TICK_NS,
    Entity,
    Queue,
    average_of,
    choose,
    is_eligible,
    least_slice,
    note_load,
    note_run,
)
from zramfs.simulate.fair_balance cimport FairBalance
from zramfs.simulate.heap cimport NOBODY

cdef enum:
    COLD_AFTER_NS = 30000   # of others' time on its CPU, after which caches have what a task needs no more
    LATE_NS = 40000         # by which a tick comes late, at most: a virtual machine's, as traces of one show
    # Of so many ticks that find a task running, one wakes another task of the system, as traces show; or four, on the
    # CPU that has least to do, where those others are.
    TICKS = 10
    WAKING_TICKS = 1
    WAKING_TICKS_OF_LEAST_USED = 4
    YIELD_NS = 1000         # of looking for work, between two yields: a read of /dev/fuse, about


cdef class FairCpus(FairBalance):
    """Likewise."""

    def __cinit__(self, int cpus, int runners, *args, int64_t cold_ns, int64_t ipi_ns, **kwargs):
        cdef int number
        self.cold_ns, self.ipi_ns = cold_ns, ipi_ns
        self.choosing = NOBODY
        self.calls_until_ns = <int64_t *>calloc(cpus, sizeof(int64_t))
        self.spent_ns = <int64_t *>calloc(cpus, sizeof(int64_t))
        self.presences = <Presence *>calloc(max(runners, 1), sizeof(Presence))
        self.is_shared = <bint *>calloc(cpus, sizeof(bint))
        self.tick_at_ns = <int64_t *>calloc(cpus, sizeof(int64_t))
        if not (self.is_shared and self.tick_at_ns and self.spent_ns and self.presences and self.calls_until_ns):
            raise MemoryError
        for number in range(runners):
            self.presences[number].cpu = NOBODY

    def __dealloc__(self):
        free(self.calls_until_ns)
        free(self.is_shared)
        free(self.tick_at_ns)
        free(self.spent_ns)
        free(self.presences)

    # ---- a task wakes up --------------------------------------------------------------------------------------------

    cdef void wake(self, int64_t now_ns, int runner) noexcept nogil:
        cdef int number = self.runners[runner].cpu
        cdef Cpu *cpu
        if not self.entities[runner].is_queued:  # else it has not left its CPU yet
            number = self._place(now_ns, runner)
            self._take_along(now_ns, runner, number)
        if self.active != NOBODY and self.active != number:
            self.calls_until_ns[self.active] = max(now_ns, self.calls_until_ns[self.active]) + self.ipi_ns
        cpu = &self.cpus[number]
        self.runners[runner].remaining_ns += self._way_ns(now_ns, number, runner)
        self._join(now_ns, number, runner)
        if cpu.current == NOBODY:
            if not cpu.is_stepping and cpu.working == NOBODY:
                self.resume(now_ns, number)
            return
        self._claim(now_ns, number, runner)

    cdef void _claim(self, int64_t now_ns, int number, int runner) noexcept nogil:
        """Let a task that has woken up on a CPU, or was moved there, take it from another (`wakeup_preempt`)."""
        cdef Cpu *cpu = &self.cpus[number]
        cpu.is_preempted |= self._preempts(now_ns, number, runner)
        if cpu.is_stepping or cpu.working != NOBODY or self.runners[cpu.current].keeps_cpu or self.choosing == number:
            return
        if cpu.is_preempted or not self.is_shared[number]:
            self._account(now_ns, cpu)
            self.resume(now_ns, number)

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

    cdef bint _is_due(self, const Cpu *cpu) noexcept nogil:
        return cpu.is_preempted and cpu.current != NOBODY and not self.runners[cpu.current].keeps_cpu

    cdef int64_t _choose_runner(self, int64_t now_ns, Cpu *cpu) noexcept nogil:
        cdef int number = <int>(cpu - self.cpus)
        cdef int before
        cdef int64_t ns
        cdef Runner *runner
        if now_ns >= self.tick_at_ns[number] and cpu.current != NOBODY:
            before = self.choosing
            self.choosing = number
            self._tick(now_ns, number)
            self.choosing = before
            self._set_tick(now_ns, number)
        if self._is_due(cpu) or cpu.current == NOBODY:
            cpu.is_preempted = False
            cpu.current = self._choose_task(number)
            if cpu.current == NOBODY and self._pull_any(now_ns, number):
                cpu.current = self._choose_task(number)
            if cpu.current == NOBODY:
                return -1
            self._warm_up(number)
        runner = &self.runners[cpu.current]
        if not runner.poll_until_ns:
            runner.remaining_ns += max(<int64_t>0, self.calls_until_ns[number] - now_ns)
            self.calls_until_ns[number] = 0
        ns = runner.remaining_ns if not runner.poll_until_ns else max(runner.poll_until_ns - now_ns, <int64_t>0)
        self.is_shared[number] = self.ready[number] > 1 and not runner.keeps_cpu
        if not runner.keeps_cpu:
            if now_ns >= self.tick_at_ns[number]:
                self._set_tick(now_ns, number)
            ns = min(ns, self.tick_at_ns[number] - now_ns)
        if self.is_shared[number] and runner.is_spinning:
            ns = min(ns, <int64_t>YIELD_NS)
        return ns

    cdef void _warm_up(self, int cpu) noexcept nogil:
        """A task that others have driven from the CPU's caches takes longer to go on."""
        cdef int current = self.cpus[cpu].current
        cdef Presence *own = &self.presences[current]
        cdef bint is_cold = own.cpu != cpu or self.spent_ns[cpu] - own.until_ns >= COLD_AFTER_NS
        if is_cold and not own.is_warming and not self.runners[current].poll_until_ns:
            self.runners[current].remaining_ns += self.cold_ns
            own.is_warming = True

    cdef void _account(self, int64_t now_ns, Cpu *cpu) noexcept nogil:
        cdef int number = <int>(cpu - self.cpus)
        if now_ns > cpu.began_ns and not self.runners[cpu.current].is_spinning:
            self.spent_ns[number] += now_ns - cpu.began_ns
            self.presences[cpu.current] = Presence(number, self.spent_ns[number], False)
        FairBalance._account(self, now_ns, cpu)

    cdef void _set_tick(self, int64_t now_ns, int cpu) noexcept nogil:
        self.tick_at_ns[cpu] = now_ns + TICK_NS - now_ns % TICK_NS + <int64_t>(draw_bits(&self.random) % LATE_NS)

    cdef void _tick(self, int64_t now_ns, int cpu) noexcept nogil:
        """The timer's interrupt: who runs may have had its slice, and other CPUs may take what waits."""
        cdef int current = self.cpus[cpu].current
        cdef int waking = WAKING_TICKS_OF_LEAST_USED if self._is_least_used(cpu) else WAKING_TICKS
        self._note_runs(now_ns, cpu, self._tasks_of(current))
        self._note_runs(now_ns, cpu, self._groups_of(cpu))
        self._weigh(now_ns, cpu, current)
        if <int>(draw_bits(&self.random) % TICKS) < waking:
            self._note_waking(now_ns, current, NOBODY)
        self._balance(now_ns)

    cdef bint _is_least_used(self, int cpu) noexcept nogil:
        cdef int number
        for number in range(self.cpu_count):
            if self.use[number] < self.use[cpu]:
                return False
        return True

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
        note_load(&self.ready_load[cpu], self.clock_ns, -1)
        note_load(&self.own_ready[runner], self.clock_ns, -1)
        note_run(&self.entities[runner])
        note_run(&self.entities[self._group_of(runner)])
        tasks.current = NOBODY
        if is_eligible(average_of(tasks, self.entities), &self.entities[runner]):
            self._remove(cpu, runner)
        else:
            self.entities[runner].is_delayed = True

    def __repr__(self):
        return f"<FairCpus {[self.ready[number] for number in range(self.cpu_count)]} ready>"
