import pytest

from zramfs.compare.settings import MOST_SETTINGS, POLICIES, Variation, combine, parse_variation
from zramfs.errors import InvalidValue


def test_variation_keeps_the_values_in_the_users_order() -> None:
    assert parse_variation("queue_depth=64,16,256") == Variation("queue_depth", ("64", "16", "256"))


@pytest.mark.parametrize("junk", ["", "queue_depth", "=1,2", "queue_depth=", "queue_depth=1,,2", "policy=auto,"])
def test_variation_that_is_not_key_and_values_is_refused(junk: str) -> None:
    with pytest.raises(InvalidValue, match="is not KEY=VALUE"):
        parse_variation(junk)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "polcy=auto",
            "'polcy' is nothing that varies: did you mean policy\\? There are policy, profile, algorithm, transport",
        ),
        ("page=1,2", "did you mean page_ns\\?"),
        ("speed=1", "'speed' is nothing that varies: there are policy, profile, algorithm, transport, queue_depth"),
    ],
)
def test_variation_of_what_there_is_not_is_refused_with_what_there_is(text: str, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        parse_variation(text)


def test_variation_with_a_value_twice_is_refused() -> None:
    with pytest.raises(InvalidValue, match="policy has the value auto twice"):
        parse_variation("policy=auto,percpu,auto")


def test_settings_are_the_product_of_all_variations() -> None:
    settings = combine([Variation("policy", ("auto", "managed")), Variation("queue_depth", ("16", "64"))], "ideal")
    assert [setting.name for setting in settings] == [
        "policy=auto, queue_depth=16",
        "policy=auto, queue_depth=64",
        "policy=managed, queue_depth=16",
        "policy=managed, queue_depth=64",
    ]


def test_settings_of_the_default_are_the_policies() -> None:
    assert [setting.mount_options for setting in combine([POLICIES], "ideal")] == [
        ["--accel", "ideal", "--stream-policy", policy] for policy in ("percpu", "managed", "auto")
    ]


def test_setting_changes_the_profile_and_keeps_what_the_base_says() -> None:
    (setting,) = combine([Variation("profile", ("ideal",)), Variation("engines", ("2",))], "ideal,queue_depth=32")
    assert setting.mount_options == ["--accel", "ideal,queue_depth=32,engines=2", "--stream-policy", "auto"]


def test_setting_chooses_the_transport() -> None:
    (setting,) = combine([Variation("transport", ("dev",))], "none")
    assert setting.mount_options == ["--accel", "none", "--stream-policy", "auto", "--transport", "dev"]


def test_setting_chooses_the_algorithm() -> None:
    (setting,) = combine([Variation("algorithm", ("lz4",))], "none")
    assert setting.mount_options == ["--accel", "none", "--stream-policy", "auto", "--algorithm", "lz4"]


@pytest.mark.parametrize(
    ("variation", "complaint"),
    [
        (Variation("policy", ("auto", "fastest")), "no stream policy 'fastest': there are auto, managed, percpu"),
        (Variation("algorithm", ("lz4", "zip")), "no algorithm 'zip'"),
        (Variation("transport", ("dev", "urin")), "no transport 'urin': did you mean uring"),
        (Variation("profile", ("ideal", "warp")), "no accelerator profile 'warp'"),
        (Variation("queue_depth", ("16", "many")), "queue_depth.*many.*whole number"),
    ],
)
def test_setting_that_a_mount_would_refuse_is_refused_at_once(variation: Variation, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        combine([variation], "ideal")


def test_key_that_is_varied_twice_is_refused() -> None:
    with pytest.raises(InvalidValue, match="queue_depth is varied twice"):
        combine([Variation("queue_depth", ("16",)), Variation("queue_depth", ("32",))], "ideal")


def test_more_settings_than_can_be_told_apart_are_refused() -> None:
    depths = tuple(str(depth) for depth in range(1, MOST_SETTINGS // 2 + 2))
    with pytest.raises(InvalidValue, match="34 settings are too many: 32 can be compared"):
        combine([Variation("policy", ("auto", "managed")), Variation("queue_depth", depths)], "ideal")
