from zramfs.suggestions import did_you_mean


def test_misspelt_name_gets_the_one_that_was_meant_and_all_there_are() -> None:
    assert did_you_mean("enginez", ("engines", "page_ns")) == "did you mean engines? There are engines, page_ns"


def test_name_that_is_like_none_gets_all_there_are() -> None:
    assert did_you_mean("warp", ("engines", "page_ns")) == "there are engines, page_ns"


def test_of_many_names_only_a_similar_one_is_told() -> None:
    many = [f"engines{number}" for number in range(99)]
    assert did_you_mean("enginez7", many).startswith("did you mean engines")
    assert "There are" not in did_you_mean("enginez7", many)
    assert did_you_mean("warp", many) == "nothing is like it"
