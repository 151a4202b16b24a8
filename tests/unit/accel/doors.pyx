# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Doors to what an accelerator consists of, for the tests beside it alone: its jobs and descriptors, and whoever
watches over its runs, by a timer and without the clock having to go on."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from zramfs.accel.descriptor cimport DescriptorStack, work_off_with_fault
from zramfs.accel.job_queue cimport BATCH_DESCRIPTORS, Finished, Job, JobQueue
from zramfs.accel.latency cimport LatencyWindow
from zramfs.accel.timer cimport EventTimer
from zramfs.accel.watch cimport NO_RUN, Run, RunWatch
from zramfs.codec.run cimport SCRATCH_BYTES, CompressedPage, CompressedRun, PageCodec
from zramfs.page cimport PAGE_BYTES

cdef uint8_t zeros[PAGE_BYTES]


# ---- jobs -----------------------------------------------------------------------------------------------------------

def queue(JobQueue jobs not None, uint32_t number, CompressedRun run not None, bytes marks not None, int64_t wanted_ns):
    """Queue a run of as many pages as there are marks; how many engines to wake."""
    cdef const uint8_t *words = marks
    return jobs.queue(number, run.pages, len(marks), words, wanted_ns)


def let_engines_idle(JobQueue jobs not None, uint32_t engines):
    jobs.idle_workers = engines


def take_first(JobQueue jobs not None):
    """The jobs that an engine takes: (number of the run, mark) each."""
    cdef Job batch[BATCH_DESCRIPTORS]
    taken = jobs.take_first(batch)
    return [(batch[i].run_number, batch[i].mark) for i in range(taken)]


def take_last(JobQueue jobs not None):
    """Likewise, those that somebody takes who lends a hand."""
    cdef Job batch[BATCH_DESCRIPTORS]
    taken = jobs.take_last(batch)
    return [(batch[i].run_number, batch[i].mark) for i in range(taken)]


def finish(JobQueue jobs not None, *numbers):
    """Count a job of each of these runs as done."""
    cdef Job batch[BATCH_DESCRIPTORS]
    for place, number in enumerate(numbers):
        batch[<int>place].run_number = number
    jobs.finish(batch, len(numbers))


def reap_jobs(JobQueue jobs not None):
    """The runs that have finished."""
    cdef Finished *finished = <Finished *>calloc(jobs.queue_depth, sizeof(Finished))
    numbers = [finished[place].number for place in range(jobs.reap(finished))]
    free(finished)
    return numbers


def tell_at_once(JobQueue jobs not None, uint32_t number):
    jobs.tell_at_once(number)


def drop_queued(JobQueue jobs not None, int status):
    jobs.drop_queued(status)


def statuses(CompressedRun run not None, int count):
    """The lengths of a run's first pages, or why they failed."""
    return [run.pages[i].length for i in range(count)]


# ---- descriptors ----------------------------------------------------------------------------------------------------

def work_off(PageCodec codec not None, bytes page not None, uint8_t mark, int checks):
    """Do one descriptor's work: its length or status, and the page that it gives back; None if there is none."""
    cdef uint8_t data[SCRATCH_BYTES]
    cdef uint8_t back[PAGE_BYTES]
    cdef CompressedPage result
    cdef Job job
    cdef int i
    job.page, job.result, job.mark = page, &result, mark
    result.page, result.data = page, data
    work_off_with_fault(codec, &job, checks)
    if result.length == 0:
        return 0, result.fill.to_bytes(8, "little") * (PAGE_BYTES // 8)
    if result.length < 0:
        return result.length, None
    if result.length >= PAGE_BYTES:
        return result.length, page
    if codec.decompress_page(data, result.length, back):
        return result.length, None
    return result.length, back[:PAGE_BYTES]


def make_stack(int depth):
    return DescriptorStack(depth)


def take_descriptor(DescriptorStack stack not None):
    return <uint64_t>stack.take()


def give_descriptor(DescriptorStack stack not None, uint64_t data):
    stack.give(<const uint8_t *>data)


def stack_counts(DescriptorStack stack not None):
    """How many are free, and the most that were taken."""
    return stack.free_count, stack.most_taken


# ---- a timer, and latencies -----------------------------------------------------------------------------------------

def armed_ns(EventTimer timer not None):
    return timer.armed_ns


def add_latency(LatencyWindow window not None, int64_t sample_ns):
    window.add(sample_ns)


def clear_latencies(LatencyWindow window not None):
    window.clear()


# ---- who watches over runs ------------------------------------------------------------------------------------------

def wait_for(RunWatch watch not None, int64_t timeout_ns):
    """Let the driver wait for a run so long."""
    watch.timeout_ns = timeout_ns


cdef Run *prepared(RunWatch watch, uint32_t number, int pages):
    """A run of zeros, whose work takes no room."""
    cdef Run *run = &watch.runs[number]
    run.count = pages
    for i in range(pages):
        run.pages[i].page = zeros
    return run


def begin(RunWatch watch not None, uint32_t number, int pages):
    """Begin with a run that takes no time of its own, and queue its pages."""
    cdef Run *run = prepared(watch, number, pages)
    watch.begin(run, False)
    watch.ring.queue(number, run.pages, pages, NULL, 0)


def begin_modelled(RunWatch watch not None, uint32_t number, int pages, *, bint is_lost=False, bint is_inline=False):
    """Begin with a run that takes the device's time; when it was submitted, and when the device is done with it.

    The ring is not troubled with one whose submitter does its work.
    """
    cdef Run *run = prepared(watch, number, pages)
    watch.begin(run, True)
    ready_ns = watch.expect(number, is_lost)
    if not is_inline:
        watch.ring.queue(number, run.pages, pages, NULL, ready_ns)
    watch.update()
    return run.submitted_ns, ready_ns


def work(RunWatch watch not None):
    """Do all the work that is queued."""
    while watch.ring.lend_hand():
        pass


def finish_inline(RunWatch watch not None, uint32_t number):
    watch.finish(&watch.runs[number])


def reap_runs(RunWatch watch not None):
    """The runs that the driver learns of, in their order."""
    told = []
    number = watch.reap()
    while number != NO_RUN:
        told.append(number)
        number = watch.runs[number].next_told
    return told


def lose_everything(RunWatch watch not None):
    watch.lose_everything()


def needs_attention(RunWatch watch not None):
    return bool(watch.needs_attention())


def next_watched_ns(RunWatch watch not None):
    return watch.next_event_ns()


def is_orphan(RunWatch watch not None, uint32_t number):
    return bool(watch.runs[number].is_orphan)


def lengths_of(RunWatch watch not None, uint32_t number):
    return [watch.runs[number].pages[i].length for i in range(watch.runs[number].count)]


def fail_pages(RunWatch watch not None, uint32_t number, int status):
    """Let the device have failed on the first page of a run."""
    watch.runs[number].pages[0].length = status


def note(RunWatch watch not None, int pages, int64_t submitted_ns, int64_t told_ns, int64_t finished_ns):
    watch.note(pages, submitted_ns, told_ns, finished_ns)


def noted(RunWatch watch not None):
    """Runs and pages with modelled time, those of them whose work took longer, and by how much at the most."""
    return (
        (watch.modelled_runs, watch.modelled_pages), (watch.late_completions, watch.late_pages), watch.latest_ns
    )
