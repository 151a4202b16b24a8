from zramfs.reporting.colours import THINGS, setting_colours


def test_every_colour_stands_for_one_thing() -> None:
    colours = [*THINGS, *setting_colours(32)]
    assert len(set(colours)) == len(colours)


def test_settings_keep_their_colours_when_there_are_more() -> None:
    assert setting_colours(3) == setting_colours(9)[:3]
