from zramfs.compare.colours import THINGS, setting_colours
from zramfs.compare.settings import MOST_SETTINGS


def test_every_colour_stands_for_one_thing() -> None:
    colours = [*THINGS, *setting_colours(MOST_SETTINGS)]
    assert len(set(colours)) == len(colours)


def test_settings_keep_their_colours_when_there_are_more() -> None:
    assert setting_colours(3) == setting_colours(9)[:3]
