from zramfs.accel.latency import LatencyWindow
from zramfs.accel.timeline import Timeline
from zramfs.accel.timer import EventTimer

class RunWatch:
    timeline: Timeline
    timer: EventTimer
    observed: LatencyWindow
    model: LatencyWindow
