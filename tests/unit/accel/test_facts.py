from zramfs.accel.facts import facts_of, profile_as_json
from zramfs.accel.profile import load_profile, parse_accelerator
from zramfs.accel.settings import SETTINGS


def test_every_number_of_each_profile_is_told_with_its_basis_and_source() -> None:
    devices = facts_of([load_profile(name).with_setting("stall_us", "7") for name in ("qpace", "iaa")])
    assert [device.name for device in devices] == ["qpace", "iaa"]
    assert [fact.key for fact in devices[0].facts] == list(SETTINGS)
    facts = {fact.key: fact for fact in devices[0].facts}
    assert (facts["page_ns"].values, facts["page_ns"].basis) == ("7690", "published")
    assert facts["page_ns"].source.startswith("qpace driver: 0.52 GB/s")
    assert (facts["stall_us"].values, facts["stall_us"].basis) == ("7", "given")


def test_number_that_is_varied_is_told_once_with_all_its_values() -> None:
    (device,) = facts_of([load_profile("qpace").with_setting("page_ns", text) for text in ("5", "70")])
    fact = next(fact for fact in device.facts if fact.key == "page_ns")
    assert (fact.values, fact.basis, fact.source) == ("5 · 70", "given", "by the user: it is varied")


def test_no_accelerator_has_no_numbers() -> None:
    assert facts_of([]) == []
    assert profile_as_json(None) is None


def test_json_has_the_numbers_as_numbers() -> None:
    told = profile_as_json(parse_accelerator("qpace,fault_timeout=1/9"))
    assert told is not None
    assert told["settings"]["page_ns"]["value"] == 7690
    assert told["settings"]["fault_timeout"]["value"] == "1/9"
