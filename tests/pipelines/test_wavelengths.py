"""Ten AIA channels and a magnetogram in one bundle, trained on frames that lack some of them."""

import numpy as np
import pytest
import torch
from astropy.io import fits

import sunaug
from pipelines.train import train_bundle
from sunaug.bundle import load_bundle
from sunaug.cube import FrameStatus, create_cube, open_cube, write_frames
from sunaug.errors import UsageError
from sunaug.fidelity.images import display_images
from sunaug.lexicon import CHANNELS
from sunaug.scaling import default_scaling
from sunaug.sources import RejectedFile, fits_files
from sunaug.training.checks import check_cube
from sunaug.training.recipe import Recipe
from tests.models import RECIPE, quick_fits

AIA = [name for name, channel in CHANNELS.items() if channel.instrument == "AIA"]
NAMES = [*AIA, "hmi_m"]
GROUPS = (tuple(AIA[:7]), ("aia1600", "aia1700", "aia4500"), ("hmi_m",))
SIZE, RADIUS, FRAMES = 16, 7.0, 24


def make_cube(path):
    """Disks in DN/s, and a magnetogram that ends at the limb; every third frame lacks three of the channels."""
    random = np.random.default_rng(0)
    offset = np.arange(SIZE) - (SIZE - 1) / 2
    disk = np.hypot(offset[:, None], offset) <= RADIUS
    low, high = (np.array([CHANNELS[name].clip[end] for name in AIA])[:, None, None] for end in (0, 1))
    share = np.where(disk, 0.6, 0.1) + random.normal(0, 0.05, (FRAMES, len(AIA), SIZE, SIZE))
    field = np.where(disk, random.normal(0, 300, (FRAMES, 1, SIZE, SIZE)), np.nan)
    intensity = np.concatenate([low * (high / low) ** share, field], axis=1).astype(np.float32)
    status = np.full(FRAMES, FrameStatus.COMPLETE, np.int8)
    for row in range(0, FRAMES, 3):
        intensity[row, random.choice(len(NAMES), 3, replace=False)] = np.nan
        status[row] = FrameStatus.PARTIAL
    times = np.datetime64("2012-01-03", "ns") + np.arange(FRAMES) * np.timedelta64(6, "h")
    create_cube(path, channels=NAMES, size=SIZE, disk_radius=RADIUS, intensity_scale="physical", times=times)
    fluxes = 10 ** random.uniform(-6.5, -4, FRAMES)
    values = {"intensity": intensity, "forecast_flux": fluxes, "nowcast_flux": fluxes / 3, "frame_status": status}
    write_frames(path, 0, values)
    return path


def recipe(**options):
    return Recipe(**{**RECIPE, "mirror": False, "channel_groups": GROUPS, "missing_channels": "learn", **options})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wavelengths")
    cube = make_cube(folder / "c.zarr")
    with quick_fits():
        return cube, load_bundle(train_bundle(cube, folder / "run", recipe(channel_dropout=0.2), accelerator="cpu"))


def test_each_channel_has_its_range_and_its_layers(made):
    _, bundle = made
    assert bundle.info.channels == NAMES
    assert bundle.info.network.channel_groups == (tuple(range(7)), (7, 8, 9), (10,))
    assert bundle.info.scaling.kinds == ("log",) * 10 + ("linear",)
    assert bundle.info.scaling.low == tuple(CHANNELS[name].clip[0] for name in NAMES)
    assert bundle.info.training["frames"] == FRAMES
    hot = torch.isnan(bundle.reference["hot_emission"]).numpy()
    assert hot.any()
    assert not hot[np.arange(FRAMES) % 3 > 0].any()


def test_samples_come_in_the_units_and_ranges_of_their_channels(made):
    _, bundle = made
    samples = sunaug.generate(bundle, 6, force=True)
    intensity = samples["intensity"].values
    assert [str(name) for name in samples["channel"].values] == NAMES
    for number, name in enumerate(AIA):
        assert intensity[:, number].min() >= np.float32(CHANNELS[name].clip[0])
    assert (intensity[:, 10] < 0).any()
    assert (intensity[:, 10] > 0).any()
    beyond = np.full((1, 11, SIZE, SIZE), -5000, np.float32)
    kept = bundle.info.within_range(beyond)[0, :, 0, 0]
    np.testing.assert_allclose(kept, [*(CHANNELS[name].clip[0] for name in AIA), -5000])


def test_off_the_limb_there_is_no_field(made):
    """Neither for the network nor for the eyes that judge it: the lowest value would be -3000 gauss."""
    cube, _ = made
    frame = open_cube(cube)["intensity"].values[[1]]
    corner = {name: image[0, 0, 0, 0] for name, image in display_images(frame, NAMES, "physical").items()}
    assert corner["hmi_m"] == 128
    assert corner["aia171"] < 60


def test_magnetograms_are_not_mirrored(made):
    cube, _ = made
    with pytest.raises(UsageError, match="magnetograms must not be mirrored"):
        check_cube(open_cube(cube), recipe(mirror=True))


def test_real_cutouts_of_three_wavelengths_are_known_and_refused(real_data):
    """171, 193 and 304 Å of a flare at the limb, no full disks: named by their channels, each within its range."""
    folder = real_data / "aia_flare_cutouts_fits"
    if not folder.is_dir():
        pytest.skip(f"no cut-outs at {folder}")
    names = ["aia171", "aia193", "aia304"]
    files = sorted(folder.glob("*"))
    references = [reference for path in files for reference in fits_files.refer(path)]
    assert [one.channels for one in references] == [(name,) for name in names] * 8
    scaling = default_scaling(names)
    for number, reference in enumerate(references[:3]):
        with fits.open(reference.path) as units:
            image = next(unit for unit in units if unit.data is not None)
            rates = (image.data / image.header["EXPTIME"]).astype(np.float32)
        scaled = scaling.scale(np.broadcast_to(rates, (3, *rates.shape)))[number]
        assert -1 < np.median(scaled) < 0.5
        assert scaled.max() > 0.5
        with pytest.raises(RejectedFile, match="not full disk: 37"):
            fits_files.read(reference)
