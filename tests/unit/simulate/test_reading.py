"""Scenarios as TOML: what they may say, and the one line that a bad one gets."""

from pathlib import Path

import pytest

from zramfs.contracts import StreamPolicy
from zramfs.errors import InvalidValue
from zramfs.simulate import load_grid, load_scenario
from zramfs.simulate.load_kinds import ClosedLoad, OpenLoad, ReclaimLoad
from zramfs.simulate.machines import load_machine, machine_names
from zramfs.simulate.scenario import Daemon
from zramfs.simulate.vary import parse_variation

PHONE = """
summary = "a phone"
duration_ms = 50
seed = 7
[[machine.groups]]
name = "big"
count = 4
like = "cortex-a76"
[[machine.groups]]
name = "little"
count = 4
like = "cortex-a55"
[scheduler]
quantum_us = 500
[streams]
policy = "auto"
percpu = "split"
[[devices]]
profile = "qpace"
queue_depth = 64
fault_bus_error = "1/1000"
offline_ms = [[10, 20]]
[[loads]]
kind = "reclaim"
reclaimers = 2
faulters = 4
group = "little"
[[loads]]
kind = "open"
name = "app"
rate_per_s = 1000
operation = "read"
group = "big"
"""

MANY_CPUS = """
[[machine.groups]]
like = "cortex-a76"
count = 4096
[[machine.groups]]
like = "cortex-a55"
count = 1
"""

SMALL = """
[machine]
table = "ryzen-7950x"
[[devices]]
profile = "iaa"
count = 2
[[loads]]
kind = "closed"
async = true
size = "64K"
"""

CYCLE = """
kind = "closed"
requests = 1
after = "a"
[[loads]]
kind = "closed"
name = "a"
requests = 2
after = "closed"
"""

ENDLESS = """
kind = "closed"
after = "a"
[[loads]]
kind = "reclaim"
name = "a"
[[loads]]
kind = "closed"
name = "b"
"""


def written(folder: Path, content: str) -> Path:
    path = folder / "scenario.toml"
    path.write_text(content)
    return path


def test_a_scenario_says_what_it_says(tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path, PHONE))
    assert [group.compress["lz4"].us for group in scenario.machine.groups] == [14.4, 41.4]
    assert scenario.machine.cpus == 8
    assert (scenario.seed, scenario.duration_us, scenario.scheduler.quantum_us) == (7, 50_000, 500)
    assert scenario.devices[0].profile.queue_depth == 64
    assert str(scenario.devices[0].profile.fault_rates["bus_error"]) == "1/1000"
    assert scenario.devices[0].offline_us == ((10_000.0, 20_000.0),)
    reclaim, app = scenario.loads
    assert reclaim == ReclaimLoad(name="reclaim", reclaimers=2, faulters=4, group="little")
    assert isinstance(app, OpenLoad)
    assert app.tasks == 4, "one for each CPU of its group"


def test_the_seed_of_the_caller_counts(tmp_path: Path) -> None:
    assert load_scenario(written(tmp_path, PHONE), seed=9).seed == 9


def test_several_devices_of_a_kind_have_names_of_their_own(tmp_path: Path) -> None:
    assert [device.name for device in load_scenario(written(tmp_path, SMALL)).devices] == ["iaa0", "iaa1"]


@pytest.mark.parametrize("name", machine_names())
def test_every_number_of_a_machine_has_a_source(name: str) -> None:
    machine = load_machine(name, Path())
    costs = [cost for group in machine.groups for each in (group.compress, group.decompress) for cost in each.values()]
    assert all(cost.us > 0 and cost.source for cost in costs)
    assert machine.summary


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sead = 1", "sead: unknown key: did you mean seed?"),
        ("seed = -1", "seed: it must be 0 to"),
        ("duration_ms = 0", "duration_ms: it must be more than 0"),
        ("duration_ms = nan", "duration_ms: it must be more than 0"),
        ("warmup_ms = -5", "warmup_ms: it must be at least 0"),
        ("warmup_ms = 5000", "warmup_ms: it must be less than the duration, which is 1000 ms"),
        ("duration_ms = true", "duration_ms: it must be a number, not True"),
        ('algorithm = "lzma"', "algorithm: ryzen-7950x has no times of 'lzma': there are lz4"),
        ("costs = {page_us = -1}", "costs.page_us: it must be at least 0"),
        ("costs = {compress_us = 0}", "costs.compress_us: it must be more than 0"),
        ("streams = {policy = 'manged'}", "streams.policy: not 'manged': did you mean managed?"),
        ("streams = {run_pages = 0}", "streams.run_pages: it must be 1 to 256, not 0"),
        ("streams = {device_reads = true}", "streams.device_reads: no device decompresses"),
        ("scheduler = {quantum_us = -1}", "scheduler.quantum_us: it must be at least 0"),
        ("seed = ", "Invalid value"),
    ],
)
def test_a_bad_key_gets_one_line_with_file_and_key(change: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, change + SMALL)
    with pytest.raises(InvalidValue) as error:
        load_scenario(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"ryzen-7950x"', '"ryzen-7950"', "machine.table: no machine 'ryzen-7950': did you mean ryzen-7950x?"),
        ('"ryzen-7950x"', '"other.toml"', "machine.table: "),
        ('table = "ryzen-7950x"', "", "machine: table is missing"),
        ('table = "ryzen-7950x"', 'table = "ryzen-7950x"\ncpus = 0', "machine.cpus: it must be 1 to 4,096, not 0"),
        ('profile = "iaa"', 'profile = "ia"', "devices.0.profile: no accelerator profile 'ia'"),
        ('profile = "iaa"', 'profile = "iaa"\nengines = 65', "devices.0.engines: it must be 0 to 64, not 65"),
        ('profile = "iaa"', 'profile = "iaa"\nengins = 6', "devices.0.engins: unknown key: did you mean engines?"),
        ('profile = "iaa"', 'profile = "iaa"\nfault_stall = 2', "devices.0.fault_stall: '2' is no fault rate"),
        ('profile = "iaa"', 'profile = "iaa"\noffline_ms = [[5, 2]]', "devices.0.offline_ms: each period must end"),
        ('profile = "iaa"', 'profile = "iaa"\noffline_ms = [[-5, 2]]', "devices.0.offline_ms: it must be at least 0"),
        ('kind = "closed"', "", "loads.0: kind is missing"),
        ('kind = "closed"', 'kind = "close"', "loads.0.kind: not 'close': did you mean closed?"),
        ('kind = "closed"', 'kind = ["closed"]', "loads.0.kind: not ['closed']: did you mean closed?"),
        ('kind = "closed"', 'kind = "open"', "loads.0: rate_per_s is missing"),
        ('table = "ryzen-7950x"', MANY_CPUS, "machine.groups: 4,097 CPUs are too many: there may be 4,096"),
        ('kind = "closed"', 'kind = "closed"\nthink_us = -1', "loads.0.think_us: it must be at least 0"),
        ('kind = "closed"', 'kind = "closed"\ntasks = 0', "loads.0.tasks: it must be 1 to 65,536, not 0"),
        ('kind = "closed"', 'kind = "closed"\ntasks = 60000\ndepth = 4000', "loads.0: 240,000,000 requests in flight"),
        ('kind = "closed"', 'kind = "closed"\ngroup = "big"', "loads.0.group: no group 'big': there are cpu"),
        ('kind = "closed"', 'kind = "closed"\noperation = "read"', "loads.0.async: reads are not asynchronous"),
        ('"64K"', '"64Q"', "loads.0.size: '64Q' is not a size"),
        ('"64K"', "100", "loads.0.size: it must be a multiple of 4096 bytes"),
        (
            'kind = "closed"',
            'kind = "closed"\nafter = "close"',
            "loads.0.after: no load 'close': did you mean closed?",
        ),
        ('kind = "closed"', CYCLE, "loads.0.after: a cycle of waits: closed waits for a waits for closed"),
        ('kind = "closed"', ENDLESS, "loads.0.after: a never ends: give it requests"),
        ("[[loads]]", "[loads]", "loads: they must be one or more [[loads]] tables"),
    ],
)
def test_a_scenario_that_cannot_be_gets_one_line(before: str, after: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL.replace(before, after, 1))
    with pytest.raises(InvalidValue) as error:
        load_scenario(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("nested", ["[" * 5000, "{a = " * 5000, "[" * 700 + "]" * 700])
def test_what_is_nested_too_deeply_gets_one_line(nested: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"summary = {nested}\n{SMALL}")
    with pytest.raises(InvalidValue) as error:
        load_scenario(path)
    assert str(error.value) == f"{path}: its tables or lists are nested too deeply"


def test_managed_streams_alone_need_a_device(tmp_path: Path) -> None:
    content = SMALL.replace('[[devices]]\nprofile = "iaa"\ncount = 2\n', '[streams]\npolicy = "managed"\n')
    with pytest.raises(InvalidValue, match=r"streams\.policy: managed streams need a device"):
        load_scenario(written(tmp_path, content))


def test_loads_of_one_kind_need_names(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="loads: two have the name 'closed': give each its own"):
        load_scenario(written(tmp_path, SMALL + '[[loads]]\nkind = "closed"\n'))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"none\.toml cannot be read: No such file"):
        load_scenario(tmp_path / "none.toml")


def test_varied_keys_make_a_grid_in_the_order_of_their_values(tmp_path: Path) -> None:
    variations = [parse_variation("policy=percpu,auto"), parse_variation("devices.page_ns=1000,2000")]
    grid = load_grid(written(tmp_path, SMALL), variations)
    assert [scenario.varied for scenario in grid] == [
        (("policy", policy), ("devices.page_ns", ns)) for policy in ("percpu", "auto") for ns in ("1000", "2000")
    ]
    assert [scenario.streams.policy for scenario in grid] == [StreamPolicy.PERCPU] * 2 + [StreamPolicy.AUTO] * 2
    assert {device.profile.number("page_ns") for scenario in grid for device in scenario.devices} == {1000, 2000}


def test_a_load_is_varied_by_its_name(tmp_path: Path) -> None:
    content = SMALL + '[[loads]]\nkind = "closed"\nname = "other"\n'
    grid = load_grid(written(tmp_path, content), [parse_variation("loads.other.depth=2,3")])
    assert [[load.depth for load in each.loads if isinstance(load, ClosedLoad)] for each in grid] == [[1, 2], [1, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("polcy=auto", "--vary polcy: unknown key: did you mean policy?"),
        ("streams.polcy=auto", "--vary streams.polcy: unknown key: did you mean streams.policy?"),
        ("name=a,b", "--vary name: there are several: devices.name, loads.name"),
        ("policy=auto,manged", "streams.policy: not 'manged': did you mean managed?"),
        ("depth=0", "loads.0.depth: it must be 1 to 4,096, not 0"),
        ("algorithm=842", "algorithm: ryzen-7950x has no times of '842'"),
        ("daemon.crew=1", "--vary daemon.crew: the scenario has no [daemon]"),
        ("crew=1", "--vary crew: the scenario has no [daemon]"),
        ("machine.groups.big.count=1", "--vary machine.groups.big.count: the scenario has no [[machine.groups]]"),
        ("costs=1", "--vary costs: it is a table, and its keys can vary, such as costs.compress_us"),
        ("devices.offline_ms=1", "--vary devices.offline_ms: it is a list, and only numbers and words can vary"),
    ],
)
def test_a_bad_variation_gets_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    with pytest.raises(InvalidValue) as error:
        load_grid(path, [parse_variation(text)])
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("key", ["page_ns", "devices.page_ns", "devices.iaa.page_ns"])
def test_no_key_adds_a_device(key: str, tmp_path: Path) -> None:
    content = SMALL.replace('[[devices]]\nprofile = "iaa"\ncount = 2\n', "")
    with pytest.raises(InvalidValue, match=rf"--vary {key}: the scenario has no \[\[devices\]\]"):
        load_grid(written(tmp_path, content), [parse_variation(f"{key}=1")])


@pytest.mark.parametrize("path", ["loads.1.depth", "loads.other.depth"])
def test_a_load_is_varied_by_its_number_as_messages_have_it(path: str, tmp_path: Path) -> None:
    content = SMALL + '[[loads]]\nkind = "closed"\nname = "other"\n'
    grid = load_grid(written(tmp_path, content), [parse_variation(f"{path}=2,3")])
    assert [[load.depth for load in each.loads if isinstance(load, ClosedLoad)] for each in grid] == [[1, 2], [1, 3]]


def test_a_daemon_is_varied(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + "[streams]\nmanaged = 'nonblocking'\n[daemon]\ncrew = 1\n")
    grid = load_grid(path, [parse_variation("crew=0,3"), parse_variation("daemon.slice_us=20")])
    assert [each.daemon for each in grid] == [Daemon(crew=crew, slice_us=20.0) for crew in (0, 3)]


def test_what_a_daemon_and_the_scheduler_have_is_varied_by_its_path(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + "[streams]\nmanaged = 'nonblocking'\n[daemon]\n[scheduler]\nrule = 'eevdf'\n")
    with pytest.raises(
        InvalidValue, match=r"--vary slice_us: there are several: scheduler\.slice_us, daemon\.slice_us"
    ):
        load_grid(path, [parse_variation("slice_us=1")])
    (scenario,) = load_grid(path, [parse_variation("scheduler.slice_us=700")])
    assert (scenario.scheduler.slice_us, scenario.daemon) == (700.0, Daemon())


def test_groups_of_cpus_are_varied_by_name_and_together(tmp_path: Path) -> None:
    path = written(tmp_path, PHONE)
    by_name = load_grid(path, [parse_variation("machine.groups.big.count=1,2")])
    assert [[group.count for group in each.machine.groups] for each in by_name] == [[1, 4], [2, 4]]
    (together,) = load_grid(path, [parse_variation("machine.groups.like=cortex-a76")])
    assert together.machine.name == "4 cortex-a76 + 4 cortex-a76"


def test_groups_of_cpus_have_times_of_their_own(tmp_path: Path) -> None:
    (scenario,) = load_grid(written(tmp_path, PHONE), [parse_variation("machine.groups.big.compress_us=9")])
    costs = [group.compress["lz4"] for group in scenario.machine.groups]
    assert [(cost.us, cost.basis) for cost in costs] == [(9.0, "given"), (41.4, "published")]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("policy=auto", "streams.policy=percpu"), "--vary streams.policy: --vary policy sets streams.policy as well"),
        (("depth=1,2", "loads.0.depth=3"), "--vary loads.0.depth: --vary depth sets loads.0.depth as well"),
    ],
)
def test_two_keys_do_not_set_the_same_value(keys: tuple[str, ...], message: str, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    with pytest.raises(InvalidValue) as error:
        load_grid(path, [parse_variation(key) for key in keys])
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize("content", ["machine = 5\n", "devices = [1, {profile = 'ideal'}]\nmachine = 5\nloads = 3\n"])
@pytest.mark.parametrize("key", ["cpus=1", "page_ns=3", "depth=2", "daemon.crew=1"])
def test_tables_that_are_none_are_one_line_where_their_keys_vary(content: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue):
        load_grid(written(tmp_path, content), [parse_variation(key)])


@pytest.mark.parametrize("text", ["policy", "=auto", "policy=", "policy=auto,", "policy=auto,auto"])
def test_a_variation_is_a_key_and_distinct_values(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_variation(text)


def test_a_grid_has_an_end(tmp_path: Path) -> None:
    many = ",".join(str(number) for number in range(1, 40))
    variations = [parse_variation(f"depth={many}"), parse_variation(f"tasks={many}")]
    with pytest.raises(InvalidValue, match="1,521 settings are too many"):
        load_grid(written(tmp_path, SMALL), variations)
