# What threads share in this package, and how. Submitters (receivers, the crew, the event loop) and reapers call on
# any thread, several at once; the engines' threads touch the ring and the pages of their jobs only.
#
# The queue's lock, `DeviceModel.lock`, protects
#   ManagedStreams: free_streams, free_count, queue_full;
#   StreamWaiters: waiting, is_calling;
#   DeviceModel: counts, stall_ns;
#   RunWatch: all that changes, but of a run that is not in flight whoever has the stream may read;
#   DescriptorStack, FaultInjector, Timeline, EventTimer, LatencyWindow: all of each.
# The ring's lock, `JobQueue.lock`, protects all that changes in JobQueue and DescriptorRing. The page and the result
#   of a job are the engine's that took it, until it is counted as done.
# A context's lock, `Context.lock`, protects the codec's scratch. It is held while pages are compressed, the others
#   for a microsecond at most.
# A stream, its `is_polled`, its `end`, its CompressedRun and its `Run.work` belong to whoever has taken it; from
#   submission until `end` is called to nobody but the device.
# Atomic words, changed under the lock of their object, and peeked at without: JobQueue.queued, finished_count;
#   DescriptorStack.free_count; DeviceModel.modelled; ModelledQueue.is_open; RunWatch.event_ns, attention_ns;
#   ManagedStreams.serves, online; FaultInjector.counts; LatencyWindow's samples. `Run.work` is peeked at as well.
# Atomic words without a lock: DescriptorRing.work_options, engines_only; StreamWaiters.waits;
#   ManagedStreams.polled_run_pages, unended; SoftwareRepair.errors, redone.
# Everything else is fixed once it is made, `stream_of` and `Run.pages` among it; FaultInjector.rates is the event
#   loop's.
#
# Order: queue, ring. A context's lock is taken with no other lock held, and none is taken under it. A RunEnd, a
# Waiter's `call` and a doorbell are called with no lock held. Nobody waits for the GIL with a lock held, but for a
# context's where the codec is Python; all but the engines is one thread then (`any_thread`).
