"""The time an accelerator takes, as numbers: what `timeline` computes with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A device's costs in nanoseconds; zeros are a device that takes no time of its own.

    A run of pages is cut into jobs of up to `batch_max_pages`; a job keeps one of `engines` busy for `job_ns` and
    `page_ns` a page. Submitting a run holds the caller's CPU for `submit_ns`. The interrupt comes when `coalesce_runs`
    runs are done, or `coalesce_ns` after the first of them, and takes `interrupt_ns` to arrive.
    """

    submit_ns: int = 0
    job_ns: int = 0
    page_ns: int = 0
    engines: int = 1
    batch_max_pages: int = 1
    coalesce_runs: int = 1
    coalesce_ns: int = 0
    interrupt_ns: int = 0

    @property
    def takes_time(self) -> bool:
        """Whether anything is modelled at all."""
        return bool(self.submit_ns or self.job_ns or self.page_ns or self.interrupt_ns or self.coalesce_runs > 1)
