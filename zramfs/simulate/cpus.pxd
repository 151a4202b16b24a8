from libc.stdint cimport int64_t, uint8_t, uint64_t

from zramfs.simulate.heap cimport EventHeap

# What a CPU spends time on: `result.CPU_PURPOSES`.
cdef enum Purpose:
    COMPRESS
    DECOMPRESS
    PAGE
    REQUEST
    WAKE
    SUBMIT
    POLL
    COMPLETION
    REDO
    MAKE
    EMULATE
    PURPOSES
    NOT_COUNTED = PURPOSES

# What has happened to a CPU when its event has come.
cdef enum Happened:
    NOTHING                 # it goes on by itself
    SEGMENT_DONE            # the task that it runs has to be told what to do next: then `resume`
    WORK_DONE               # likewise what the work has led to

# A task, as its CPU sees it: it has a segment to run, is ready to, or sleeps.
cdef struct Runner:
    int64_t remaining_ns    # of its segment
    int64_t poll_until_ns   # instead, if it is not 0: the segment ends then, whatever comes between
    int64_t ran_ns          # since it got the CPU
    int cpu
    int next_ready
    uint8_t purpose
    bint keeps_cpu          # is not preempted now
    bint is_bulk            # whoever is not, and wakes up, goes first
    int group               # of tasks that share CPUs with other groups as one
    bint is_spinning        # its segment only looks whether there is something to do

# What interrupts a CPU, and has to be done before its tasks go on.
cdef struct Work:
    int64_t ns
    int next

cdef struct Cpu:
    int64_t began_ns        # since when it runs its segment or work
    int64_t generation      # of its event: earlier ones are void
    int current             # a runner
    int first_ready, last_ready
    int working             # a work
    int first_work, last_work
    bint is_stepping        # between an event and `resume`
    bint is_preempted       # its runner is to give way as soon as it may
    int spinner             # that looks for work here until then, when nobody else has the CPU
    int64_t spun_until_ns

cdef class Cpus:
    cdef EventHeap *heap
    cdef Cpu *cpus
    cdef Runner *runners
    cdef Work *works
    cdef int64_t quantum_ns
    cdef double *pace       # of each CPU: what its times are multiplied by now
    cdef double jitter      # by which share a segment is longer or shorter, at most
    cdef uint64_t random
    cdef bint wakeup_preempts, migrates
    cdef int cpu_count, runner_count
    cdef int active         # the CPU whose task has its say, or NOBODY
    cdef int interrupted    # the CPU whose timer goes off now, or NOBODY: that of whom it wakes
    cdef int64_t clock_ns                   # when an event last came
    cdef int64_t halt_ns                    # what a CPU that was idle takes to go on
    cdef int64_t apart_ns                   # what a caller takes beside that, if it is woken from another CPU
    cdef int caller_count                   # the first runners, if a daemon has others
    cdef int64_t from_ns, until_ns
    cdef int64_t used_ns[PURPOSES]          # between from_ns and until_ns

    cdef void wake(self, int64_t now_ns, int runner) noexcept nogil
    cdef bint spin(self, int runner, int64_t until_ns) noexcept nogil
    cdef bint rouse(self, int64_t now_ns, int runner) noexcept nogil
    cdef int64_t _way_ns(self, int64_t now_ns, int cpu, int runner) noexcept nogil
    cdef int _place(self, int64_t now_ns, int runner) noexcept nogil
    cdef bint _is_idle(self, int cpu) noexcept nogil
    cdef bint _gives_way(self, int cpu, int runner) noexcept nogil
    cdef void _steal(self, Cpu *cpu) noexcept nogil
    cdef void add_work(self, int64_t now_ns, int cpu, int work, int64_t ns) noexcept nogil
    cdef void run_for(self, int runner, int64_t ns, int purpose) noexcept nogil
    cdef void poll_until(self, int runner, int64_t until_ns) noexcept nogil
    cdef bint has_to_yield(self, int runner) noexcept nogil
    cdef bint _is_due(self, const Cpu *cpu) noexcept nogil
    cdef void sleep(self, int runner) noexcept nogil
    cdef int on_event(self, int64_t now_ns, int cpu, int64_t generation, int *subject) noexcept nogil
    cdef void resume(self, int64_t now_ns, int cpu) noexcept nogil
    cdef void charge(self, int purpose, int64_t from_ns, int64_t until_ns) noexcept nogil
    cdef void _go_on_with(self, int64_t now_ns, int cpu) noexcept nogil
    cdef int64_t _choose_runner(self, int64_t now_ns, Cpu *cpu) noexcept nogil
    cdef void _account(self, int64_t now_ns, Cpu *cpu) noexcept nogil
    cdef void _put_first(self, Cpu *cpu, int runner) noexcept nogil
    cdef void _put_last(self, Cpu *cpu, int runner) noexcept nogil
