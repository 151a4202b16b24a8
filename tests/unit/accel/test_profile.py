from pathlib import Path

import pytest

from zramfs.accel.faults import FaultRate
from zramfs.accel.profile import load_profile, parse_accelerator, parse_profile, profile_names
from zramfs.accel.settings import SETTINGS
from zramfs.accel.timing import Timing
from zramfs.errors import InvalidValue

NUMBERS = {
    "queue_depth": 8,
    "engines": 2,
    "polled_run_pages": 0,
    "batch_max_pages": 4,
    "submit_ns": 100,
    "job_ns": 200,
    "page_ns": 300,
    "coalesce_runs": 5,
    "coalesce_us": 6,
    "interrupt_ns": 700,
    "timeout_us": 8000,
    "verify_compress": 1,
}
GOOD = 'summary = "a device"\n' + "".join(
    f'[{key}]\nvalue = {value}\nbasis = "published"\nsource = "a data sheet"\n' for key, value in NUMBERS.items()
)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_says_where_its_numbers_are_from(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.summary
    for key, setting in profile.settings.items():
        assert setting.basis in (("published", "assumed") if SETTINGS[key].is_of_device else ("default",))
        assert len(setting.source) > 10
        assert SETTINGS[key].unit


def test_the_default_profiles_are_there() -> None:
    devices = {"qpace", "qpace_urgent", "emerald_hill", "hisi_zip", "iaa", "mtk_hwz"}
    assert set(profile_names()) == {"ideal", "poc"} | devices


def test_poc_is_the_device_of_the_rfc() -> None:
    poc = load_profile("poc")
    assert (poc.queue_depth, poc.number("engines"), poc.number("polled_run_pages")) == (128, 1, 0)
    assert not poc.timing.takes_time


def test_a_profile_is_read_from_toml() -> None:
    profile = parse_profile("mine", GOOD)
    assert {key: profile.number(key) for key in NUMBERS} == NUMBERS
    assert profile.timing == Timing(
        submit_ns=100,
        job_ns=200,
        page_ns=300,
        engines=2,
        batch_max_pages=4,
        coalesce_runs=5,
        coalesce_ns=6000,
        interrupt_ns=700,
    )
    assert profile.settings["queue_depth"].source == "a data sheet"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("value = 8", "value = 0", "queue_depth: it must be 1 to"),
        ("value = 8", "value = 4097", "queue_depth: it must be 1 to 4096, not 4097"),
        ("value = 8", 'value = "8"', "queue_depth is not a whole number"),
        ("value = 8", "value = 8.5", "queue_depth is not a whole number"),
        ("value = 8", "value = true", "queue_depth is not a whole number"),
        ("value = 8\n", "", "queue_depth is not a whole number"),
        ('basis = "published"', 'basis = "guessed"', "published or assumed"),
        ('source = "a data sheet"', 'source = ""', "by whom or why"),
        ('source = "a data sheet"', 'sauce = "a data sheet"', "has no 'sauce': did you mean source"),
        ("[engines]", "[enginez]", "no setting 'enginez': did you mean engines\\? There are queue_depth, engines"),
        ('summary = "a device"', "summary = 5", "the summary is not a text, but 5"),
        ("[queue_depth]", "[queue_depth", "profile mine:"),
    ],
)
def test_a_wrong_profile_is_refused(old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(InvalidValue, match=complaint):
        parse_profile("mine", GOOD.replace(old, new, 1))


def test_a_profile_without_a_number_names_what_is_missing() -> None:
    with pytest.raises(InvalidValue, match="timeout_us, verify_compress missing: a line NAME = NUMBER for each"):
        parse_profile("mine", GOOD[: GOOD.index("[timeout_us]")])


def test_an_accelerator_is_a_profile_with_settings_of_the_user() -> None:
    profile = parse_accelerator("poc,queue_depth=16,engines=2")
    assert profile is not None
    assert (profile.queue_depth, profile.number("engines"), profile.number("polled_run_pages")) == (16, 2, 0)
    assert profile.settings["queue_depth"].basis == "given"
    assert profile.settings["polled_run_pages"].basis == "published"


def test_settings_of_the_user_leave_the_profile_alone() -> None:
    parse_accelerator("poc,queue_depth=16")
    assert load_profile("poc").queue_depth == 128


def test_none_is_no_accelerator() -> None:
    assert parse_accelerator("none") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no accelerator profile ''"),
        ("nosuch", "no accelerator profile 'nosuch': there are .*ideal.*poc.*none, or give a path"),
        ("qpase", "no accelerator profile 'qpase': did you mean qpace\\? There are"),
        ("../ideal", "profile ../ideal cannot be read: No such file"),
        ("nosuch.toml", "profile nosuch.toml cannot be read: No such file"),
        ("none,queue_depth=1", "none has no settings"),
        ("poc,", "is not key=value"),
        ("poc,queue_depth", "'queue_depth' is not key=value"),
        ("poc,speed=9", "no setting 'speed': there are queue_depth"),
        ("poc,page=9", "no setting 'page': did you mean page_ns\\?"),
        ("poc,queue_depth=", "not a whole number"),
        ("poc,queue_depth=-1", "not a whole number"),
        ("poc,queue_depth=1.5", "not a whole number"),
        ("poc,queue_depth=1K", "not a whole number"),
        ("poc,queue_depth=²", "not a whole number"),
        ("poc,queue_depth=0", "queue_depth: it must be 1 to"),
        ("poc,engines=65", "engines: it must be 0 to 64, not 65"),
        ("poc,page_ns=99999999999999999999", "page_ns: it must be 0 to"),
        ("poc,when_full=drop", "when_full: it must be fallback or wait, not 'drop'"),
        ("poc,fault_timeout=1/0", "'1/0' is no fault rate"),
        ("poc,fault_corrupt=1.5", "'1.5' is no fault rate"),
    ],
)
def test_a_wrong_accelerator_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint) as caught:
        parse_accelerator(text)
    assert "\n" not in str(caught.value)


def test_a_profile_of_the_users_own_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    profile = parse_accelerator(f"{file},page_ns=5,fault_bus_error=1/9,when_full=wait")
    assert profile is not None
    assert (profile.name, profile.number("page_ns"), profile.number("job_ns")) == ("mine", 5, 200)
    assert profile.fault_rates["bus_error"] == FaultRate(every=9)
    assert profile.waits_when_full


def test_a_plain_number_is_an_assumption_without_a_source() -> None:
    profile = parse_profile("mine", "".join(f"{key} = {value}\n" for key, value in NUMBERS.items()))
    assert {key: profile.number(key) for key in NUMBERS} == NUMBERS
    assert profile.settings["page_ns"].basis == "assumed"
    assert profile.settings["page_ns"].source == "a plain number in its file, without a source"


@pytest.mark.parametrize("junk", ["2500.5", '"2500"', "true", "[1]"])
def test_a_plain_value_that_is_no_whole_number_is_refused(junk: str) -> None:
    with pytest.raises(InvalidValue, match="page_ns is not a whole number, but"):
        parse_profile("mine", f"page_ns = {junk}\n")


def test_a_plain_number_below_a_table_is_told_where_to_stand() -> None:
    with pytest.raises(InvalidValue, match=r"page_ns is in the table .engines.: plain numbers stand above all tables"):
        parse_profile("mine", '[engines]\nvalue = 2\nbasis = "assumed"\nsource = "a guess"\npage_ns = 2500\n')


def test_a_profile_without_a_summary_says_so() -> None:
    assert parse_profile("mine", GOOD.partition("\n")[2]).summary == "a profile without a summary"


def test_emerald_hill_may_have_any_of_its_published_queues() -> None:
    for depth in (256, 512, 4096):
        profile = parse_accelerator(f"emerald_hill,queue_depth={depth}")
        assert profile is not None
        assert profile.queue_depth == depth


def test_faults_and_policies_are_no_business_of_a_profile() -> None:
    with pytest.raises(InvalidValue, match="no setting 'fault_timeout'"):
        parse_profile("mine", GOOD + '[fault_timeout]\nvalue = 1\nbasis = "assumed"\nsource = "bad luck"\n')
