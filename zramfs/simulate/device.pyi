from zramfs.simulate.series import LevelSeries

class SimulatedDevice:
    depth: LevelSeries
    pages: int
    run_count: int
    interrupts: int
    refused: int
    lost_runs: int
    busy_ns: int
    def injected_faults(self) -> dict[str, int]: ...
