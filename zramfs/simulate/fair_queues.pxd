from libc.stdint cimport int64_t

from zramfs.simulate.cpus cimport Cpu, Cpus
from zramfs.simulate.eevdf cimport Entity, Load, Queue

cdef class FairQueues(Cpus):
    # Of a task the number of its runner; behind them a group's on each CPU, in the order of the queues.
    cdef Entity *entities
    # Of the tasks of a group on a CPU; behind them that of each CPU's groups.
    cdef Queue *queues
    cdef Load *own_load         # of each task
    cdef Load *own_ready        # likewise, while it is ready
    cdef Load *ready_load       # of the tasks of all groups of each CPU: how many are ready
    cdef int groups
    cdef int *ready             # tasks that are, by CPU
    cdef int64_t *ran_at_ns     # when each runner last had a CPU
    cdef int64_t *listed_at_ns  # when each last joined, or got its CPU
    cdef bint is_overloaded     # a CPU has had two tasks and more since it was last looked whether one has
    cdef int64_t slice_ns, bulk_slice_ns

    cdef Queue *_tasks_of(self, int runner) noexcept nogil
    cdef Queue *_groups_of(self, int cpu) noexcept nogil
    cdef int _group_of(self, int runner) noexcept nogil
    cdef void _join(self, int64_t now_ns, int cpu, int runner) noexcept nogil
    cdef void _rejoin(self, Queue *queue, int entity) noexcept nogil
    cdef void _weigh(self, int64_t now_ns, int cpu, int runner) noexcept nogil
    cdef void _remove(self, int cpu, int runner) noexcept nogil
    cdef void _follow(self, int cpu, int group) noexcept nogil
    cdef void _leave_asleep(self, int cpu, Queue *queue, int entity) noexcept nogil
    cdef void _note_runs(self, int64_t now_ns, int cpu, Queue *queue) noexcept nogil
    cdef int _choose_task(self, int cpu) noexcept nogil
    cdef void _begin_to_run(self, int cpu, int group, int runner) noexcept nogil
