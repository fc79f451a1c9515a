import pytest

from sunaug.errors import UsageError
from sunaug.lexicon import CHANNELS, channel, channel_names


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("aia193", "aia193"),
        (193, "aia193"),
        ("193A", "aia193"),
        ("193 Å", "aia193"),
        ("193 \u212b", "aia193"),
        ("AIA_193", "aia193"),
        ("aia_0193", "aia193"),
        ("SDO AIA 94", "aia94"),
        ("0094", "aia94"),
        ("hmi_m", "hmi_m"),
        ("HMI magnetogram", "hmi_m"),
        ("hmi_v", "hmi_v"),
        ("HMI Dopplergram", "hmi_v"),
        ("Bx", "hmi_bx"),
    ],
)
def test_every_spelling_leads_to_one_channel(written, name):
    assert channel(written).name == name


@pytest.mark.parametrize("written", ["aia195", "", "193 nm", "eit195", "hmi_q", 0])
def test_unknown_channels_are_refused(written):
    with pytest.raises(UsageError, match="unknown channel"):
        channel(written)


def test_names_keep_their_order_and_come_once():
    assert channel_names(["171", "aia131", 94]) == ["aia171", "aia131", "aia94"]
    with pytest.raises(UsageError, match="named twice"):
        channel_names(["171", "aia171"])


def test_colour_tables_exist_in_sunpy():
    import matplotlib as mpl
    import sunpy.visualization.colormaps  # noqa: F401

    assert {one.colormap for one in CHANNELS.values()} <= set(mpl.colormaps)


def test_clip_ranges_and_labels():
    assert all(low < high for low, high in (one.clip for one in CHANNELS.values()))
    assert channel(193).label == "AIA 193 Å"
    assert channel("hmi_m").label == "HMI M"


def test_velocities_are_signed_and_in_metres_per_second():
    velocity = channel("hmi_v")
    assert (velocity.unit, velocity.signed, velocity.label) == ("m s-1", True, "HMI V")
    assert velocity.clip[0] == -velocity.clip[1], "blue and red shifts of one size get colours of one strength"
