import csv
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time as clock
from pathlib import Path

import numpy as np
import pytest
from sunpy.net.dataretriever.sources.aia_synopsis import AIASynopsisClient

from pipelines.fetch import MAX_CONNECTIONS, fetch
from sunaug.errors import SunaugError, UsageError
from tests.archive import LAYOUT, Archive

DAY = ("2017-01-01", "2017-01-01T06:00")


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def archive(tmp_path, monkeypatch):
    archive = Archive(tmp_path / "archive")
    monkeypatch.setattr(AIASynopsisClient, "pattern", archive.pattern)
    yield archive
    archive.close()


@pytest.fixture
def hours(archive):
    """Files of six hours, two channels, at the hour and two minutes after it."""
    for hour in range(6):
        for minute in (0, 2):
            for wavelength in (171, 193):
                archive.add(f"2017-01-01T0{hour}:0{minute}", wavelength)
    return archive


def _fetch(out, *span, channels=("aia193",), cadence="1h", **settings):
    return fetch(out, *(span or DAY), channels=channels, cadence=cadence, **{"backoff": 0.01, **settings})


def test_the_file_nearest_to_each_step_is_taken(hours, tmp_path):
    result = _fetch(tmp_path / "out", cadence="2h", channels=["193 Å", "aia171"])
    assert (result.downloaded, result.kept, result.failed, result.missing) == (6, 0, (), ())
    rows = _table(result.manifest)
    assert [row["file"] for row in rows if row["channel"] == "aia193"] == [
        f"aia193/AIA20170101_0{hour}00_0193.fits" for hour in (0, 2, 4)
    ]
    for row in rows:
        content = (tmp_path / "out" / row["file"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (str(len(content)), hashlib.sha256(content).hexdigest())
    assert rows[0]["time"] == "2017-01-01T00:00:05.840Z"
    assert rows[0]["url"] == hours.pattern.partition("{{")[0] + f"2017/01/01/H0000/{Path(rows[0]['file']).name}"
    assert result.downloaded_bytes == sum(int(row["bytes"]) for row in rows)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["aia171", "aia193", "manifest.csv"]
    # One list of files per step, although the archive has a folder for every hour between.
    assert len(hours.listings) == 3


def test_a_step_without_a_file_takes_a_neighbour_or_is_missing(archive, tmp_path):
    archive.add("2017-01-01T00:00", 193)
    late = archive.add("2017-01-01T02:24", 193)
    result = _fetch(tmp_path / "out", cadence="2h")
    assert [row["file"] for row in _table(result.manifest)][1] == f"aia193/{late}"
    assert result.missing == (("aia193", np.datetime64("2017-01-01T04:00", "ns")),)


def test_all_takes_every_file(hours, tmp_path):
    assert _fetch(tmp_path / "out", cadence="all").downloaded == 12
    assert not [name for name in hours.asked if "0171" in name]


def test_what_is_there_is_not_asked_for_again(hours, tmp_path):
    out = tmp_path / "out"
    _fetch(out)
    before = (out / "manifest.csv").read_text()
    hours.asked.clear()
    hours.listings.clear()
    again = _fetch(out)
    assert (again.downloaded, again.kept, hours.asked, hours.listings) == (0, 6, [], [])
    assert (out / "manifest.csv").read_text() == before
    # A file that was spoiled since, one that is gone, and one that the manifest has lost.
    rows = before.splitlines(keepends=True)
    (out / "aia193" / "AIA20170101_0100_0193.fits").write_bytes(b"SIMPLE")
    (out / "aia193" / "AIA20170101_0200_0193.fits").unlink()
    (out / "manifest.csv").write_text("".join(row for row in rows if "_0300_" not in row))
    mended = _fetch(out)
    assert (mended.downloaded, mended.kept) == (2, 4)
    assert sorted(hours.asked) == ["AIA20170101_0100_0193.fits", "AIA20170101_0200_0193.fits"]
    assert (out / "manifest.csv").read_text() == before


def test_files_spoiled_on_the_way_are_asked_for_again(hours, tmp_path):
    hours.faults = {
        "AIA20170101_0000_0193.fits": ["page"],
        "AIA20170101_0100_0193.fits": ["cut off", "short"],
        "AIA20170101_0200_0193.fits": ["503"],
        "AIA20170101_0300_0193.fits": ["AIA20170101_0300_0171.fits"],
    }
    result = _fetch(tmp_path / "out")
    assert (result.downloaded, result.failed) == (6, ())
    assert hours.asked.count("AIA20170101_0100_0193.fits") == 3
    assert not result.failed_csv.exists()
    assert not list((tmp_path / "out").rglob("*.part"))


def test_what_cannot_be_had_is_named_with_its_reason_and_the_rest_comes(hours, tmp_path):
    faults = {
        "AIA20170101_0000_0193.fits": "page",
        "AIA20170101_0100_0193.fits": "cut off",
        "AIA20170101_0200_0193.fits": "503",
        "AIA20170101_0300_0193.fits": "AIA20170101_0302_0171.fits",
        "AIA20170101_0400_0193.fits": "short",
        "AIA20170101_0500_0193.fits": "no answer",
    }
    # The client asks at once a second time where the server hangs up, so each attempt meets up to two faults.
    hours.faults = {name: [fault] * 4 for name, fault in faults.items()}
    result = _fetch(tmp_path / "out", channels=["aia193", "aia171"], attempts=2)
    assert (result.downloaded, len(result.failed)) == (6, 6)
    reasons = {Path(row["url"]).name: row["reason"] for row in _table(result.failed_csv)}
    assert "web page" in reasons["AIA20170101_0000_0193.fits"]
    assert "ended before the whole file" in reasons["AIA20170101_0100_0193.fits"]
    assert "503" in reasons["AIA20170101_0200_0193.fits"]
    assert "holds aia171 and not aia193" in reasons["AIA20170101_0300_0193.fits"]
    assert "truncated" in reasons["AIA20170101_0400_0193.fits"]
    assert "disconnected" in reasons["AIA20170101_0500_0193.fits"]
    assert not list((tmp_path / "out" / "aia193").iterdir())
    # Once the archive is well again the rest comes, and nothing is left to complain of.
    hours.faults = {}
    mended = _fetch(tmp_path / "out", attempts=1)
    assert (mended.downloaded, mended.kept, mended.failed_csv.exists()) == (6, 0, False)


def test_a_file_of_another_time_is_refused(archive, tmp_path):
    archive.add("2017-01-01T00:00", 193, header_time="2017-01-02T00:00:00.00")
    result = _fetch(tmp_path / "out", "2017-01-01", "2017-01-01T01:00", attempts=1)
    assert "is of 2017-01-02T00:00:00Z and not of 2017-01-01T00:00:00Z" in result.failed[0].reason


def test_the_server_is_not_asked_for_too_much_at_once(archive, tmp_path):
    for minute in range(0, 40, 2):
        archive.add(f"2017-01-01T00:{minute:02d}", 193)
    result = _fetch(tmp_path / "out", "2017-01-01", "2017-01-01T01:00", cadence="all")
    assert result.downloaded == 20
    assert 1 < archive.most_open <= MAX_CONNECTIONS


def test_folders_may_have_odd_names(hours, tmp_path):
    out = tmp_path / "a {file} of 100 %"
    assert _fetch(out, cadence="4h").downloaded == 2
    assert (out / "aia193" / "AIA20170101_0000_0193.fits").exists()


_SCRIPT = """
import sys
from sunpy.net.dataretriever.sources.aia_synopsis import AIASynopsisClient
AIASynopsisClient.pattern = sys.argv[1]
from pipelines.fetch import fetch
fetch(sys.argv[2], "2017-01-01", "2017-01-01T06:00", channels=["aia193"], cadence="all", backoff=0.01)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_fetch_that_was_stopped_goes_on(archive, tmp_path, how):
    for minute in range(0, 36, 2):
        archive.add(f"2017-01-01T00:{minute:02d}", 193)
    archive.faults = {"AIA20170101_0034_0193.fits": ["hang"]}
    out = tmp_path / "out"
    run = subprocess.Popen([sys.executable, "-c", _SCRIPT, archive.pattern, str(out)], stderr=subprocess.PIPE)
    assert archive.hanging.wait(30)
    until = clock.monotonic() + 5
    while not list(out.rglob("*.part")) and clock.monotonic() < until:
        clock.sleep(0.01)
    os.kill(run.pid, how)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode != 0
    assert (how == signal.SIGINT) == (b"KeyboardInterrupt" in stderr)
    whole = {path.name for path in out.rglob("*.fits")}
    assert 16 <= len(whole) < 18
    archive.asked.clear()
    result = _fetch(out, cadence="all")
    assert result.downloaded + result.kept == 18
    assert not whole & set(archive.asked)
    assert not list(out.rglob("*.part"))
    assert len(_table(result.manifest)) == 18


def test_a_cut_off_last_row_of_the_manifest_is_passed_over(hours, tmp_path):
    out = tmp_path / "out"
    manifest = _fetch(out).manifest
    before = manifest.read_text()
    manifest.write_text(before[:-30])
    again = _fetch(out)
    assert (again.downloaded, again.kept) == (0, 6)
    assert manifest.read_text() == before


def test_a_folder_with_another_manifest_is_left_alone(hours, tmp_path):
    (tmp_path / "manifest.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="is not the manifest of a fetch"):
        _fetch(tmp_path)
    assert (tmp_path / "manifest.csv").read_text() == "a,b\n1,2\n"


def test_a_folder_that_cannot_be_written_is_one_sentence(hours, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "aia193").write_text("a file where the folder of the channel should be")
    with pytest.raises(SunaugError, match=r"out: cannot be written"):
        _fetch(tmp_path / "out")


def test_an_archive_that_cannot_be_reached_is_one_sentence(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setattr(AIASynopsisClient, "pattern", f"http://127.0.0.1:{port}{LAYOUT}")
    with pytest.raises(SunaugError, match=r"no answer .*Connection refused.*check the network"):
        _fetch(tmp_path / "out", attempts=2)


def test_an_empty_range_of_the_archive_is_one_sentence(hours, tmp_path):
    with pytest.raises(SunaugError, match="no synoptic file of aia193 from 2019-01-01T00:00:00Z"):
        _fetch(tmp_path / "out", "2019-01-01", "2019-01-01T02:00")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"end": "2016-12-31"}, "not after the start"),
        ({"start": "yesterday"}, "is not a time"),
        ({"cadence": "often"}, "no time between images"),
        ({"cadence": "0h"}, "no time between images"),
        ({"cadence": "-2h"}, "no time between images"),
        ({"kind": "browse"}, "unknown kind"),
        ({"channels": ["aia195"]}, "unknown channel"),
        ({"channels": ["hmi_m"]}, "synoptic files have no channel hmi_m"),
        ({"channels": []}, "none was named"),
        ({"kind": "full", "channels": ["hmi_bx"]}, "full files have no channel hmi_bx"),
        ({"attempts": 0}, "at least once"),
        ({"out": __file__}, "is a file"),
    ],
)
def test_senseless_requests_are_refused(tmp_path, settings, message):
    request = {"out": tmp_path / "out", "start": DAY[0], "end": DAY[1], **settings}
    with pytest.raises(UsageError, match=message):
        fetch(**request)
    assert not (tmp_path / "out").exists()
