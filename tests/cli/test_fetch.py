import subprocess
import sys

import pytest

from sunaug.flares import read_catalogue
from tests.archive import Archive
from tests.cli.commands import sunaug

SPAN = ("--start", "2017-01-01", "--end", "2017-01-01T06:00")

_POINTED = """
import sys
from sunpy.net.dataretriever.sources.aia_synopsis import AIASynopsisClient
from sunpy.net.hek import HEKClient
where = sys.argv.pop(1)
AIASynopsisClient.pattern = where
HEKClient.__init__.__defaults__ = (where,)
from sunaug.cli import main
main()
"""


def _sunaug(where, *arguments):
    """The command line, with sunpy's clients pointed at a local server."""
    command = [sys.executable, "-c", _POINTED, where, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    archive = Archive(tmp_path_factory.mktemp("archive"))
    for hour in range(3):
        archive.add(f"2017-01-01T0{hour}:00", 193)
    yield archive
    archive.close()


@pytest.fixture(scope="module")
def fetched(archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("fetch") / "out"
    command = ("fetch", out, *SPAN, "--channels", "aia193", "--backoff", "0.01")
    return command, _sunaug(archive.pattern, *command)


def test_a_fetch_says_what_it_did(fetched):
    _, done = fetched
    assert done.returncode == 0, done.stderr
    assert "3 files downloaded" in done.stdout
    assert "no file for 3 of the steps (the first: aia193, 2017-01-01T03:00:00Z)" in done.stdout
    assert "downloading: 3 of 3 files" in done.stderr


def test_given_again_there_is_nothing_to_do(archive, fetched):
    again = _sunaug(archive.pattern, *fetched[0])
    assert again.returncode == 0
    assert "nothing to do, all 3 files are there" in again.stdout


def test_files_that_cannot_be_had_end_with_code_1(archive, tmp_path):
    archive.faults = {"AIA20170101_0100_0193.fits": ["page"] * 2}
    out = tmp_path / "out"
    done = _sunaug(archive.pattern, "fetch", out, *SPAN, "--channels", "193", "--attempts", "2", "--backoff", "0.01")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[-1:]
    assert line.startswith(f"sunaug: 1 files could not be had, each with its reason in {out / 'failed.csv'}")
    assert "web page" in line
    assert "2 files downloaded" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--start", "2017-01-02", "--end", "2017-01-01"), "not after the start"),
        ((*SPAN, "--cadence", "2"), "no time between images"),
        ((*SPAN, "--kind", "jp2"), "unknown kind"),
        ((*SPAN, "--flares", "swpc"), "ends in .csv"),
    ],
)
def test_wrong_usage_is_one_sentence(tmp_path, arguments, sentence):
    done = sunaug("fetch", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_flare_list_comes_as_csv(hek, tmp_path):
    out = tmp_path / "flares.csv"
    done = _sunaug(hek.url, "fetch", out, "--flares", "swpc", "--start", "2017-09-04", "--end", "2017-09-08")
    assert done.returncode == 0, done.stderr
    assert f"{out}: 3 flares (X 2, M 1) of SWPC list, from HEK" in done.stdout
    assert len(read_catalogue(out).flares) == 3
