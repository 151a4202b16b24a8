"""What is measured of this machine is a table that scenarios can name."""

from zramfs.simulate.calibrate import AlgorithmCosts, format_machine, measure_algorithm, measure_wake_us
from zramfs.simulate.machines import parse_machine


def test_what_is_measured_takes_time() -> None:
    costs = measure_algorithm("lz4")
    assert 0.1 < costs.compress < 1000
    assert 0.05 < costs.decompress < 1000
    assert costs.request >= 0
    assert costs.page >= 0
    assert measure_wake_us() > 0.1


def test_the_table_is_a_machine_of_measured_numbers() -> None:
    measured = {"zstd": AlgorithmCosts(9.0, 1.5, 0.4, 0.9), "lz4": AlgorithmCosts(1.25, 0.75, 0.5, 0.875)}
    machine = parse_machine("here", format_machine(measured, 4.0))
    (group,) = machine.groups
    assert group.count == machine.cpus > 0
    assert {name: cost.us for name, cost in group.compress.items()} == {"zstd": 9.0, "lz4": 1.25}
    assert {name: cost.us for name, cost in group.decompress.items()} == {"zstd": 1.5, "lz4": 0.75}
    assert (machine.costs.request.us, machine.costs.page.us, machine.costs.wake.us) == (0.5, 0.875, 4.0)
    bases = {cost.basis for cost in (*group.compress.values(), machine.costs.request, machine.costs.wake)}
    assert bases == {"measured"}
    assert machine.costs.completion.basis == "assumed"
