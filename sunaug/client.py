"""A thin client of `sunaug serve`, on httpx (extra ``client``).

>>> client = Client("http://sun.example:8000", key)
>>> batch = client.submit(n=500, rare=True, min_class="M5.0", seed=3)
>>> client.wait(batch["id"])
>>> client.download(batch["id"], "rare.zarr.zip")
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from sunaug.errors import GateRefused, SunaugError, UsageError
from sunaug.fidelity.cache import default_cache

__all__ = ["KEY_VARIABLE", "Client", "fetch_cube"]

KEY_VARIABLE = "SUNAUG_API_KEY"
"""Environment variable of the key that is used where none is given."""

_TRIES = 6
_LONGEST_WAIT = 30.0
_BUSY = (408, 429)
_PART = 2**20
_LARGEST_RATIO = 2
_CUBE = "SYNTHETIC.zarr"
_BATCH = re.compile(r"(https?://[^/?#]+)/v1/batches/([0-9a-f]{32})/?")


class Client:
    """Files batches with a service and fetches what it makes.

    Parameters
    ----------
    url : str
        Address of the service.
    key : str, optional
        API key; that of ``SUNAUG_API_KEY`` if left out. A service on this machine may need none.
    timeout : float
        Seconds that an answer may take to begin or to go on.

    Notes
    -----
    Where the service says that it is busy (429) or cannot be reached, calls are repeated after the time that it names.
    Filing is repeated too: the same request is made once, whoever files it and how often.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout: float = 60.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise UsageError(f"{url}: not the address of a service; give http://HOST:PORT or https://HOST.")
        key = key or os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, **request: Any) -> dict[str, Any]:
        """File a batch.

        Parameters
        ----------
        **request
            ``n``, ``rare``, ``min_class``, ``label``, ``seed``, ``steer``, ``truncation``, ``bundle``, ``format``,
            ``ungated`` and others, see `sunaug.service.schemas.BatchRequest`.

        Returns
        -------
        dict
            The batch: ``id``, ``state``, ``done``, ``gate`` and more.
        """
        return self._json("POST", "/v1/batches", json=request)

    def batch(self, identifier: str) -> dict[str, Any]:
        """A batch as it is now."""
        return self._json("GET", f"/v1/batches/{identifier}")

    def batches(self, limit: int = 50, offset: int = 0) -> list[dict[str, Any]]:
        """The own batches, the latest first."""
        found = self._json("GET", "/v1/batches", params={"limit": limit, "offset": offset})
        return list(found["batches"])

    def bundles(self) -> list[dict[str, Any]]:
        """The bundles that samples can be asked of."""
        return list(self._json("GET", "/v1/bundles"))

    def delete(self, identifier: str) -> None:
        """Cancel a batch, or delete it."""
        self._answer("DELETE", f"/v1/batches/{identifier}")

    def wait(
        self,
        identifier: str,
        *,
        timeout: float | None = None,
        every: float = 1.0,
        report: Callable[[int], None] = lambda done: None,
    ) -> dict[str, Any]:
        """Wait until a batch is done.

        Parameters
        ----------
        identifier : str
        timeout : float, optional
            Seconds to wait at most.
        every : float
            Seconds between two looks.
        report : callable
            Called with the number of samples made so far.

        Returns
        -------
        dict
            The batch; what the gate says of it is in ``gate``.

        Raises
        ------
        SunaugError
            If the batch has failed, or is not done in time.
        """
        last = time.monotonic() + timeout if timeout is not None else None
        while True:
            batch = self.batch(identifier)
            report(batch["done"])
            if batch["state"] == "done":
                return batch
            if batch["state"] == "failed":
                raise SunaugError(f"{self.url}: batch {identifier} has failed: {batch['error']}")
            if last is not None and time.monotonic() + every > last:
                raise SunaugError(f"{self.url}: batch {identifier} is not done after {timeout:g} s; wait again.")
            time.sleep(every)

    def download(self, identifier: str, out: str | Path) -> Path:
        """Fetch the file of a batch; a download that was broken off goes on where it stopped.

        Raises
        ------
        GateRefused
            If the gate has not passed the set.
        SunaugError
            If the batch is not done, or nothing can be fetched or written.
        """
        batch = self.batch(identifier)
        if batch["state"] == "done" and batch["download"] is None:
            raise GateRefused(f"{self.url}: batch {identifier}: {batch['gate']['sentence']}")
        target = Path(out)
        partial = target.with_name(f"{target.name}.{identifier[:8]}.partial")
        for number in range(_TRIES):
            try:
                self._fetch(f"/v1/batches/{identifier}/download", partial)
            except httpx.TransportError as error:
                if number == _TRIES - 1:
                    raise SunaugError(f"{self.url}: the download breaks off again and again ({error}).") from None
                time.sleep(min(2.0**number, _LONGEST_WAIT))
            else:
                break
        partial.replace(target)
        return target

    def stream(self, identifier: str) -> Iterator[dict[str, Any]]:
        """The samples of a batch as they come.

        Yields
        ------
        dict
            ``sample`` (its number), ``intensity`` (channel, y, x) float32 in the units of the bundle,
            ``forecast_flux``, ``nowcast_flux`` (W m-2 or None), ``seed``.

        Raises
        ------
        GateRefused
            In the end, if the gate has not passed the set: there are no samples then.
        SunaugError
            If the batch fails or is deleted on the way.
        """
        address = f"/v1/batches/{identifier}/stream"
        try:
            with self._http.stream("GET", address) as answer:
                self._check(answer)
                for line in answer.iter_lines():
                    content = json.loads(line)
                    if "sample" in content:
                        pixels = np.frombuffer(base64.b64decode(content["intensity"]), "<f4")
                        yield content | {"intensity": pixels.reshape(content["shape"])}
                    elif "end" in content:
                        self._check_end(identifier, content)
                        return
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        raise SunaugError(f"{self.url}: the stream of batch {identifier} broke off; ask for it again.")

    def _check_end(self, identifier: str, content: dict[str, Any]) -> None:
        if content["end"] != "done":
            raise SunaugError(
                f"{self.url}: batch {identifier} {content['end']}: {content.get('error') or 'no samples'}"
            )
        if content["gate"]["verdict"] not in ("passed", "ungated"):
            raise GateRefused(f"{self.url}: batch {identifier}: {content['gate']['sentence']}")

    def _fetch(self, address: str, partial: Path) -> None:
        """Append what is missing to `partial`; the file's hash is kept beside it, for it may be another one by now."""
        tag = partial.with_name(f"{partial.name}.etag")
        have = partial.stat().st_size if partial.exists() and tag.exists() else 0
        headers = {"Range": f"bytes={have}-", "If-Range": tag.read_text()} if have else {}
        with self._http.stream("GET", address, headers=headers) as answer:
            if answer.status_code != 416:  # nothing is missing
                self._check(answer)
                tag.write_text(answer.headers["etag"])
                with partial.open("ab" if answer.status_code == 206 else "wb") as file:
                    for part in answer.iter_bytes(_PART):
                        file.write(part)
        tag.unlink()

    def _json(self, method: str, address: str, **options: Any) -> Any:
        return self._answer(method, address, **options).json()

    def _answer(self, method: str, address: str, **options: Any) -> httpx.Response:
        """An answer that is no error, asked for again where that may help."""
        for number in range(_TRIES):
            wait, last = 2.0**number, number == _TRIES - 1
            try:
                answer = self._http.request(method, address, **options)
            except httpx.TransportError as error:
                if last:
                    raise self._unreachable(error) from None
            else:
                wait = float(answer.headers.get("retry-after", wait))
                if answer.status_code not in _BUSY or last or wait > _LONGEST_WAIT:
                    self._check(answer)
                    return answer
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _unreachable(self, error: httpx.TransportError) -> SunaugError:
        return SunaugError(f"{self.url}: cannot be reached ({error}); check the address, and that it is served.")

    def _check(self, answer: httpx.Response) -> None:
        """Raise what an answer says where it is an error."""
        if not answer.is_error:
            return
        answer.read()
        try:
            sentence = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            sentence = f"HTTP {answer.status_code}; is this a sunaug service?"
        kind = UsageError if answer.status_code == 422 else SunaugError
        raise kind(f"{self.url}: {sentence}")


def fetch_cube(url: str, key: str | None = None) -> Path:
    """The cube of a batch on this machine; it is fetched once and kept (``SUNAUG_CACHE``).

    Parameters
    ----------
    url : str
        Address of a batch of format ``zarr``: ``http://HOST/v1/batches/ID``. It is waited for.
    key : str, optional
        As for `Client`.

    Returns
    -------
    pathlib.Path
        A synthetic cube, as `sunaug.cube.open_cube` takes it.

    Raises
    ------
    UsageError
        If it is no such address, or the batch is of another format.
    GateRefused
        If the gate has not passed the set.
    SunaugError
        If the batch has failed, or cannot be fetched.
    """
    found = _BATCH.fullmatch(url)
    if found is None:
        raise UsageError(f"{url}: not the address of a batch; give http://HOST/v1/batches/ID.")
    service, identifier = found.groups()
    folder = default_cache() / "batches" / identifier
    if folder.is_dir():
        return folder / _CUBE
    with Client(service, key) as client:
        batch = client.wait(identifier)
        if batch["format"] != "zarr":
            raise UsageError(f"{url}: is a {batch['format']} batch; file it with format zarr.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        archive = client.download(identifier, folder.with_name(f"{identifier}.zarr.zip"))
    partial = folder.with_name(f"{identifier}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _unpack(archive, partial / _CUBE, limit=_LARGEST_RATIO * max(batch["bytes"], 1))
    archive.unlink()
    partial.replace(folder)
    return folder / _CUBE


def _unpack(archive: Path, out: Path, limit: int) -> None:
    """Unpack a Zarr zip. zipfile itself keeps members within the folder."""
    try:
        with zipfile.ZipFile(archive) as opened:
            if sum(member.file_size for member in opened.infolist()) > limit:
                raise SunaugError(f"{archive}: unpacks to more than the batch has; it was left alone.")
            opened.extractall(out)
    except zipfile.BadZipFile as error:
        raise SunaugError(f"{archive}: not a Zarr zip ({error}); remove it and fetch it again.") from None
