import pytest

from zramfs.accel.profile import load_profile, parse_accelerator, parse_profile, profile_names, setting_unit
from zramfs.errors import InvalidValue

GOOD = """
summary = "a device"
[queue_depth]
value = 8
basis = "published"
source = "a data sheet"
[engines]
value = 2
basis = "assumed"
source = "as many as fit"
[polled_run_pages]
value = 0
basis = "assumed"
source = "interrupts only"
"""


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_says_where_its_numbers_are_from(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.summary
    for key, setting in profile.settings.items():
        assert setting.basis in ("published", "assumed")
        assert len(setting.source) > 10
        assert setting_unit(key)


def test_the_default_profiles_are_there() -> None:
    assert {"ideal", "poc"} <= set(profile_names())


def test_poc_is_the_device_of_the_rfc() -> None:
    poc = load_profile("poc")
    assert (poc.queue_depth, poc.engines, poc.polled_run_pages) == (128, 1, 0)


def test_a_profile_is_read_from_toml() -> None:
    profile = parse_profile("mine", GOOD)
    assert (profile.queue_depth, profile.engines, profile.polled_run_pages) == (8, 2, 0)
    assert profile.settings["queue_depth"].source == "a data sheet"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("value = 8", "value = 0", "queue_depth must be 1 to"),
        ("value = 8", "value = 4097", "queue_depth must be 1 to 4096, not 4097"),
        ("value = 8", 'value = "8"', "queue_depth must be"),
        ("value = 8", "value = 8.5", "queue_depth must be"),
        ("value = 8\n", "", "queue_depth must be"),
        ('basis = "published"', 'basis = "guessed"', "published or assumed"),
        ('source = "a data sheet"', 'source = ""', "by whom or why"),
        ("[engines]", "[enginez]", "no setting 'enginez'"),
        ("[queue_depth]", "[queue_depth", "profile mine:"),
    ],
)
def test_a_wrong_profile_is_refused(old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(InvalidValue, match=complaint):
        parse_profile("mine", GOOD.replace(old, new, 1))


def test_a_profile_without_a_number_names_what_is_missing() -> None:
    with pytest.raises(InvalidValue, match="engines, polled_run_pages missing"):
        parse_profile("mine", GOOD[: GOOD.index("[engines]")])


def test_a_profile_with_a_bare_number_is_refused() -> None:
    with pytest.raises(InvalidValue, match="engines must be"):
        parse_profile("mine", 'summary = "x"\nengines = 3\n')


def test_an_accelerator_is_a_profile_with_settings_of_the_user() -> None:
    profile = parse_accelerator("poc,queue_depth=16,engines=2")
    assert profile is not None
    assert (profile.queue_depth, profile.engines, profile.polled_run_pages) == (16, 2, 0)
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
        ("nosuch", "no accelerator profile 'nosuch': there are .*ideal.*poc.*none"),
        ("../ideal", "no accelerator profile"),
        ("none,queue_depth=1", "none has no settings"),
        ("poc,", "is not key=value"),
        ("poc,queue_depth", "'queue_depth' is not key=value"),
        ("poc,speed=9", "no setting 'speed': there are queue_depth"),
        ("poc,queue_depth=", "not a whole number"),
        ("poc,queue_depth=-1", "not a whole number"),
        ("poc,queue_depth=1.5", "not a whole number"),
        ("poc,queue_depth=1K", "not a whole number"),
        ("poc,queue_depth=²", "not a whole number"),
        ("poc,queue_depth=0", "queue_depth must be 1 to"),
        ("poc,engines=65", "engines must be 0 to 64, not 65"),
    ],
)
def test_a_wrong_accelerator_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint) as caught:
        parse_accelerator(text)
    assert "\n" not in str(caught.value)
