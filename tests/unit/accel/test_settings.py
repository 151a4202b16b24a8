import pytest

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.faults import FAULT_KINDS, FaultRate
from zramfs.accel.profile import parse_accelerator
from zramfs.accel.settings import SETTINGS, Number
from zramfs.codec.lz4 import Lz4Codec
from zramfs.errors import DeviceBusy, InvalidValue

NUMBERS = [(key, setting) for key, setting in SETTINGS.items() if isinstance(setting, Number)]
numbers = pytest.mark.parametrize(("key", "setting"), NUMBERS, ids=[key for key, _ in NUMBERS])


def accelerator(text: str = "ideal") -> EmulatedAccelerator:
    profile = parse_accelerator(text)
    assert profile is not None
    return EmulatedAccelerator(profile)


@numbers
def test_number_is_taken_up_to_its_limits(key: str, setting: Number) -> None:
    assert setting.parse(str(setting.least)) == setting.least, key
    assert setting.parse(str(setting.most)) == setting.most
    for beyond in (setting.most + 1, 10**30):
        with pytest.raises(InvalidValue, match=f"must be {setting.least} to {setting.most}"):
            setting.parse(str(beyond))


@numbers
@pytest.mark.parametrize("text", ["", "-1", "1.0", "1e3", "0x10", "x", "1 ", "²", "٣", "1K"])
def test_number_that_is_none_is_refused(key: str, setting: Number, text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a whole number"):
        setting.parse(text)
    assert key in SETTINGS


def test_defaults_are_a_device_without_faults_whose_callers_fall_back() -> None:
    settings = accelerator().settings()
    assert settings["when_full"] == "fallback"
    assert {settings[f"fault_{kind}"] for kind in FAULT_KINDS} == {"0"}
    assert settings["state"] == "online"


@pytest.mark.parametrize("key", ["queue_depth", "engines", "profile", "workers", "nosuch"])
def test_what_is_fixed_or_no_setting_cannot_change(key: str) -> None:
    device = accelerator()
    assert not device.can_set(key)
    with pytest.raises(DeviceBusy, match=f"{key} cannot change"):
        device.set(key, "1")


@pytest.mark.parametrize("key", [*(key for key, setting in SETTINGS.items() if not setting.is_fixed), "state"])
def test_value_that_is_none_leaves_everything_as_it_was(key: str) -> None:
    device = accelerator()
    before = dict(device.settings())
    with pytest.raises(InvalidValue):
        device.set(key, "nonsense")
    assert device.settings() == before


async def test_setting_that_changes_is_in_force_at_once() -> None:
    device = accelerator()
    driver = device.attach(Lz4Codec)
    device.set("page_ns", "5000")
    device.set("timeout_us", "2000")
    device.set("stall_us", "7")
    device.set("polled_run_pages", "3")
    device.set("fault_timeout", "1/9")
    device.set("when_full", "wait")
    assert device.settings()["page_ns"] == "5000"
    assert driver.queue.watch.timeline.costs["page_ns"] == 5000
    assert (driver.queue.watch.timeout_ns, driver.queue.stall_ns) == (2_000_000, 7_000)
    assert driver.polled_run_pages == 3
    assert driver.queue.faults.rates["timeout"] == FaultRate(every=9)
    assert driver.waits_when_full
    driver.close()


async def test_settings_outlive_the_driver_and_hold_for_the_next() -> None:
    device = accelerator()
    device.attach(Lz4Codec).close()
    device.set("fault_corrupt", "1/5")
    device.set("state", "offline")
    driver = device.attach(Lz4Codec)
    assert driver.queue.faults.rates["corrupt"] == FaultRate(every=5)
    assert not driver.is_online
    driver.close()
