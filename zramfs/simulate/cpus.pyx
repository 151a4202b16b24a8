# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""CPUs and the tasks that share them, in virtual time.

A task is bound to a CPU, unless tasks migrate. They run first come, first served, for a quantum while others wait;
whoever wakes up may preempt, if the scenario says so: then it runs at once, and the one that ran goes to the end of
the queue. Work of interrupts stops any task, also one that keeps its CPU, and is done in its order. Where tasks
migrate, one that wakes up looks for an idle CPU, and a CPU that has nothing to do takes a task that waits for another;
nothing else does.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.draws cimport draw_share
from zramfs.simulate.heap cimport CPU_EVENT, NOBODY, schedule


cdef class Cpus:
    """So many CPUs, with room for so many runners and works; `engine` gives the heap, and says who runs where."""

    def __cinit__(
        self, int cpus, int runners, int works, *, int64_t quantum_ns, bint wakeup_preempts, bint migrates,
        int64_t halt_ns, double jitter, uint64_t random, **kwargs
    ):
        cdef int number
        self.cpus = <Cpu *>calloc(cpus, sizeof(Cpu))
        self.runners = <Runner *>calloc(max(runners, 1), sizeof(Runner))
        self.works = <Work *>calloc(max(works, 1), sizeof(Work))
        self.pace = <double *>calloc(cpus, sizeof(double))
        if not (self.cpus and self.runners and self.works and self.pace):
            raise MemoryError
        self.quantum_ns, self.jitter, self.random = quantum_ns, jitter, random
        self.wakeup_preempts, self.migrates, self.halt_ns = wakeup_preempts, migrates, halt_ns
        self.cpu_count, self.runner_count = cpus, runners
        self.active = self.interrupted = NOBODY
        for number in range(cpus):
            self.pace[number] = 1.0
            self.cpus[number].current = self.cpus[number].working = NOBODY
            self.cpus[number].first_ready = self.cpus[number].first_work = self.cpus[number].spinner = NOBODY

    def __dealloc__(self):
        free(self.pace)
        free(self.cpus)
        free(self.runners)
        free(self.works)

    # ---- from anywhere ----------------------------------------------------------------------------------------------

    cdef void wake(self, int64_t now_ns, int runner) noexcept nogil:
        """Let a task that sleeps, and has a segment to run, be ready."""
        cdef int number = self._place(now_ns, runner)
        cdef Cpu *cpu = &self.cpus[number]
        cdef bint was_alone = cpu.first_ready == NOBODY
        cdef bint preempts = self.wakeup_preempts or self._gives_way(number, runner)
        self.runners[runner].remaining_ns += self._way_ns(now_ns, number, runner)
        self.runners[runner].cpu = number
        if preempts:
            self._put_first(cpu, runner)
            cpu.is_preempted = True
        else:
            self._put_last(cpu, runner)
        if cpu.is_stepping or cpu.working != NOBODY:
            return
        if cpu.current == NOBODY:
            self.resume(now_ns, number)
        elif not self.runners[cpu.current].keeps_cpu and (preempts or (was_alone and self.quantum_ns)):
            self._account(now_ns, cpu)
            self.resume(now_ns, number)

    cdef int64_t _way_ns(self, int64_t now_ns, int cpu, int runner) noexcept nogil:
        """What it takes a task more to go on where its CPU was idle, or somebody on another one wakes it."""
        cdef int64_t ns = 0
        if self._is_idle(cpu) and now_ns >= self.cpus[cpu].spun_until_ns:
            ns += self.halt_ns
        if runner < self.caller_count and self.active != NOBODY and self.active != cpu:
            ns += self.apart_ns
        return ns

    cdef int _place(self, int64_t now_ns, int runner) noexcept nogil:
        """The CPU for a task that wakes up: its own, if that is idle, another that is, or one whose task gives way.

        One that somebody spins on does not look idle, but for the one who spins. Linux looks at idle CPUs alone when a
        task wakes up, and moves it away from a CPU where it waits at a tick soon after; here it never waits there.
        """
        cdef int own = self.runners[runner].cpu
        cdef int number
        cdef int second = NOBODY
        if not self.migrates:
            return own
        if self._is_idle(own) and (now_ns >= self.cpus[own].spun_until_ns or self.cpus[own].spinner == runner):
            return own
        for number in range(self.cpu_count):
            if self._is_idle(number):
                if now_ns >= self.cpus[number].spun_until_ns:
                    return number
                second = number
        if self._is_idle(own) or self._gives_way(own, runner):
            return own
        for number in range(self.cpu_count):
            if second == NOBODY and self._gives_way(number, runner):
                second = number
        return own if second == NOBODY else second

    cdef bint _gives_way(self, int cpu, int runner) noexcept nogil:
        """Whether a CPU's task would be preempted by another that wakes up."""
        cdef int current = self.cpus[cpu].current
        return current != NOBODY and self.runners[current].is_bulk and not self.runners[runner].is_bulk

    cdef bint _is_idle(self, int cpu) noexcept nogil:
        cdef const Cpu *own = &self.cpus[cpu]
        return own.current == NOBODY and own.working == NOBODY and own.first_ready == NOBODY and not own.is_stepping

    cdef void add_work(self, int64_t now_ns, int cpu, int work, int64_t ns) noexcept nogil:
        """Interrupt a CPU, for so long."""
        cdef Cpu *own = &self.cpus[cpu]
        self.works[work].ns = ns
        self.works[work].next = NOBODY
        if own.first_work == NOBODY:
            own.first_work = work
        else:
            self.works[own.last_work].next = work
        own.last_work = work
        if own.is_stepping or own.working != NOBODY:
            return
        if own.current != NOBODY:
            self._account(now_ns, own)
        self.resume(now_ns, cpu)

    # ---- by the task that its CPU runs, after SEGMENT_DONE ----------------------------------------------------------

    cdef void run_for(self, int runner, int64_t ns, int purpose) noexcept nogil:
        """Let its next segment be this, or a bit more or less; also of a task that sleeps, for when it wakes up."""
        cdef double times = self.pace[self.runners[runner].cpu]
        if self.jitter > 0:
            times *= 1 + self.jitter * (2 * draw_share(&self.random) - 1)
        if times != 1.0:
            ns = <int64_t>(ns * times)
        self.runners[runner].remaining_ns = ns
        self.runners[runner].poll_until_ns = 0
        self.runners[runner].purpose = purpose
        self.runners[runner].is_spinning = False

    cdef void poll_until(self, int runner, int64_t until_ns) noexcept nogil:
        """Likewise, to hold its CPU until then."""
        self.runners[runner].poll_until_ns = until_ns
        self.runners[runner].purpose = POLL

    cdef bint has_to_yield(self, int runner) noexcept nogil:
        """Whether others are to have the CPU as soon as its task lets them: it goes on later, without a segment."""
        if not self._is_due(&self.cpus[self.runners[runner].cpu]):
            return False
        self.run_for(runner, 0, REQUEST)
        return True

    cdef bint spin(self, int runner, int64_t until_ns) noexcept nogil:
        """Let a task that is about to sleep look for work until then, and leave its CPU to whoever wants it.

        False: it is to sleep meanwhile; True: it has a segment for that, until somebody rouses it.
        """
        cdef Cpu *cpu = &self.cpus[self.runners[runner].cpu]
        cpu.spinner, cpu.spun_until_ns = runner, until_ns
        return False

    cdef bint rouse(self, int64_t now_ns, int runner) noexcept nogil:
        """Let a task that spins find something to do; False: it does not, and has to be woken up."""
        return False

    cdef void sleep(self, int runner) noexcept nogil:
        """Give the CPU up."""
        self.cpus[self.runners[runner].cpu].current = NOBODY

    # ---- by the engine ----------------------------------------------------------------------------------------------

    cdef int on_event(self, int64_t now_ns, int cpu, int64_t generation, int *subject) noexcept nogil:
        """What has happened (a Happened), and to which runner or work; but for NOTHING, `resume` has to follow."""
        cdef Cpu *own = &self.cpus[cpu]
        self.clock_ns = now_ns
        if generation != own.generation:
            return NOTHING
        if own.working != NOBODY:
            subject[0] = own.working
            own.working = NOBODY
            own.began_ns = now_ns  # its task has not run meanwhile
            own.is_stepping = True
            return WORK_DONE
        self._account(now_ns, own)
        if self.runners[own.current].remaining_ns > 0:
            self._go_on_with(now_ns, cpu)
            self.resume(now_ns, cpu)
            return NOTHING
        subject[0] = own.current
        own.is_stepping = True
        self.active = cpu
        return SEGMENT_DONE

    cdef void _go_on_with(self, int64_t now_ns, int cpu) noexcept nogil:
        """The runner's segment was interrupted by time, not by work; nothing is known here that follows from it."""

    cdef void resume(self, int64_t now_ns, int cpu) noexcept nogil:
        """Let a CPU go on: with work, with its runner, or with the next one that is ready."""
        cdef Cpu *own = &self.cpus[cpu]
        cdef int64_t ns
        self.clock_ns = now_ns
        own.is_stepping = False
        if self.active == cpu:
            self.active = NOBODY
        own.began_ns = now_ns
        own.generation += 1
        if own.first_work != NOBODY:
            own.working = own.first_work
            own.first_work = self.works[own.working].next
            ns = self.works[own.working].ns
        else:
            ns = self._choose_runner(now_ns, own)
        if ns >= 0:
            schedule(self.heap, now_ns + ns, CPU_EVENT, cpu, own.generation)

    cdef int64_t _choose_runner(self, int64_t now_ns, Cpu *cpu) noexcept nogil:
        """How long the runner may go on, which may be another one now; -1: there is none."""
        cdef Runner *runner
        cdef int64_t ns
        if self._is_due(cpu):
            self._put_last(cpu, cpu.current)
            cpu.current = NOBODY
        if cpu.current == NOBODY:
            if cpu.first_ready == NOBODY and self.migrates:
                self._steal(cpu)
            if cpu.first_ready == NOBODY:
                return -1
            cpu.current = cpu.first_ready
            cpu.first_ready = self.runners[cpu.current].next_ready
            cpu.is_preempted = False
            self.runners[cpu.current].ran_ns = 0
        runner = &self.runners[cpu.current]
        ns = runner.remaining_ns if not runner.poll_until_ns else max(runner.poll_until_ns - now_ns, <int64_t>0)
        if self.quantum_ns and cpu.first_ready != NOBODY and not runner.keeps_cpu:
            ns = min(ns, max(self.quantum_ns - runner.ran_ns, <int64_t>0))
        return ns

    cdef void _steal(self, Cpu *cpu) noexcept nogil:
        """Take the first task that waits for another CPU, if there is one."""
        cdef int number, runner
        for number in range(self.cpu_count):
            runner = self.cpus[number].first_ready
            if runner != NOBODY and self.cpus[number].current != NOBODY:
                self.cpus[number].first_ready = self.runners[runner].next_ready
                self.runners[runner].cpu = <int>(cpu - self.cpus)
                self._put_last(cpu, runner)
                return

    cdef bint _is_due(self, const Cpu *cpu) noexcept nogil:
        """Whether the runner has to give way."""
        if cpu.current == NOBODY or cpu.first_ready == NOBODY or self.runners[cpu.current].keeps_cpu:
            return False
        return cpu.is_preempted or (self.quantum_ns > 0 and self.runners[cpu.current].ran_ns >= self.quantum_ns)

    cdef void _account(self, int64_t now_ns, Cpu *cpu) noexcept nogil:
        """Note what the runner of a CPU has done since it began."""
        cdef Runner *runner = &self.runners[cpu.current]
        cdef int64_t ns = now_ns - cpu.began_ns
        self.charge(runner.purpose, cpu.began_ns, now_ns)
        runner.ran_ns += ns
        runner.remaining_ns = runner.remaining_ns - ns if not runner.poll_until_ns else runner.poll_until_ns - now_ns
        cpu.began_ns = now_ns

    cdef void charge(self, int purpose, int64_t from_ns, int64_t until_ns) noexcept nogil:
        """Count CPU time, as far as it is measured."""
        if purpose == NOT_COUNTED:
            return
        from_ns = max(from_ns, self.from_ns)
        until_ns = min(until_ns, self.until_ns)
        if until_ns > from_ns:
            self.used_ns[purpose] += until_ns - from_ns

    cdef void _put_first(self, Cpu *cpu, int runner) noexcept nogil:
        self.runners[runner].next_ready = cpu.first_ready
        if cpu.first_ready == NOBODY:
            cpu.last_ready = runner
        cpu.first_ready = runner

    cdef void _put_last(self, Cpu *cpu, int runner) noexcept nogil:
        self.runners[runner].next_ready = NOBODY
        if cpu.first_ready == NOBODY:
            cpu.first_ready = runner
        else:
            self.runners[cpu.last_ready].next_ready = runner
        cpu.last_ready = runner

    def used(self):
        """CPU time in ns by Purpose."""
        return [self.used_ns[<int>purpose] for purpose in range(PURPOSES)]
