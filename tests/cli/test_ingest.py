import subprocess
import sys

import pytest

from tests.cli.commands import sunaug
from tests.make_data import write_fits


def _sunaug(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sunaug", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingest")
    for day in range(1, 4):
        write_fits(folder / f"{day}.fits", time=f"2012-03-0{day}T00:00:00.00", seed=day)
    (folder / "page.fits").write_text("<!DOCTYPE html>")
    done = _sunaug("ingest", folder, "--out", folder / "cube.zarr", "--size", "32")
    assert done.returncode == 0, done.stderr
    return folder / "cube.zarr", done


def test_ingest_says_what_it_did(cube):
    path, done = cube
    assert f"{path}: 3 frames (3 complete)" in done.stdout
    assert "3 inputs used, 1 left out." in done.stdout
    assert f"{path.parent / 'cube.rejected.csv'}" in done.stdout
    assert "no flare catalogue given" in done.stdout


def test_inspect_shows_and_draws(cube, tmp_path):
    done = _sunaug("inspect", cube[0], "--picture", tmp_path / "sheet.png")
    assert done.returncode == 0, done.stderr
    assert "time 3, channel 1, y 32, x 32" in done.stdout
    assert "unknown 3" in done.stdout
    assert "train 3 (months 1-7)" in done.stdout
    assert "of train, 3 frames" in done.stdout
    assert "1 x not a FITS file, as page.fits" in done.stdout
    assert "float32 rounded to 14 bits of mantissa" in done.stdout
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_what_is_wrong_with_the_labels_is_said_by_ingest_and_inspect(tmp_path):
    for day in range(1, 4):
        write_fits(tmp_path / f"{day}.fits", time=f"2012-03-0{day}T00:00:00.00", seed=day, size=32, radius=12.0)
    (tmp_path / "flares.csv").write_text(
        "Flare Class,Start Time,Peak Time,End Time,Active Region Number\n"
        "C1.0,2012-02-20T00:00Z,2012-02-20T00:05Z,2012-02-20T00:10Z,0\n"
        "?,2012-03-02T12:00Z,2012-03-02T12:05Z,2012-03-02T12:10Z,inf\n"
        "M2.0,2012-03-03T23:50Z,2012-03-03T00:05Z,2012-03-03T00:10Z,0\n"
        "C1.0,2012-03-20T00:00Z,2012-03-20T00:05Z,2012-03-20T00:10Z,0\n"
    )
    minutes = [f"2012-03-0{day}T{one // 60:02d}:{one % 60:02d}Z" for day in (1, 2) for one in range(0, 24 * 60, 5)]
    (tmp_path / "xrs.csv").write_text(
        "# scaling true\ntime,xrsb\n2012-02-29T22:00Z,-99999\n" + "".join(f"{one},2e-6\n" for one in minutes)
    )
    cube = tmp_path / "cube.zarr"
    tables = ("--flares", tmp_path / "flares.csv", "--xrs", tmp_path / "xrs.csv")
    done = _sunaug("ingest", tmp_path, "--out", cube, "--size", "32", *tables)
    assert done.returncode == 0, done.stderr
    seen = _sunaug("inspect", cube)
    for said in (done.stdout, seen.stdout):
        assert (
            "flares.csv: 1 x unreadable class or flux, unknown; 1 x end before start, moved by a day; 1 x peak" in said
        )
        assert "xrs.csv: readings left out: 1 missing or not positive" in said
        assert "forecast_flux is operational and nowcast_flux is true flux" in said
    assert "forecast_flux is unknown for 1 of 3 frames" in done.stdout
    assert "nowcast_flux is unknown for 2 of 3 frames" in done.stdout, "of March 1 by the hole, of March 3 by the end"
    assert "label scale    forecast_flux operational, nowcast_flux true" in seen.stdout
    refused = _sunaug("ingest", tmp_path, "--out", tmp_path / "no.zarr", "--xrs", tmp_path / "1.fits")
    assert refused.returncode == 1
    assert "not readable as GOES X-ray flux (FITS of the SDAC)" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("make", "code", "sentence"),
    [
        (lambda folder: folder / "none", 2, "no such file or folder"),
        (lambda folder: folder, 2, "this folder holds no image"),
        (lambda folder: _write(folder, "text.fits", "just text"), 1, "not a FITS file"),
        (lambda folder: _truncated(folder), 1, "truncated"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, make, code, sentence):
    done = _sunaug("ingest", make(tmp_path), "--out", tmp_path / "out" / "cube.zarr")
    assert done.returncode == code
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("sunaug: ")]
    assert sentence in line
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "cube.zarr").exists()


def _write(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def _truncated(folder):
    path = write_fits(folder / "short.fits")
    path.write_bytes(path.read_bytes()[:-5000])
    return path


def test_workers_have_no_effect_on_a_cluster(tmp_path):
    done = sunaug("ingest", tmp_path, "--out", tmp_path / "c.zarr", "--scheduler", "tcp://127.0.0.1:1", "--workers", 2)
    assert done.returncode == 2
    assert "--workers has no effect with --scheduler ADDRESS: omit one of the two" in done.stderr
