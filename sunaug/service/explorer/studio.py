"""Frames for the page: made one at a time, and the ones that were asked for last are kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from fastapi import HTTPException
from numpy.typing import NDArray

from sunaug.bundle import Bundle
from sunaug.critic import Reading
from sunaug.generation import Request, Sampler
from sunaug.service.access import too_many
from sunaug.service.explorer.scenes import Scene

__all__ = ["Studio"]

FRAMES_KEPT = 64
MOST_WAITING = 32

_Result = TypeVar("_Result")


class Studio:
    """Makes the frames of scenes, one at a time.

    Parameters
    ----------
    bundles : mapping of str to Bundle
        What is served, by name.

    Notes
    -----
    One thread works, and the network on one core: several threads of a busy machine wait for each other longer than a
    single frame takes.
    """

    def __init__(self, bundles: Mapping[str, Bundle]) -> None:
        self.bundles = bundles
        self._frames: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, "explorer", initializer=partial(torch.set_num_threads, 1))
        self._waiting = 0

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Do something on the studio's thread, where frames may be asked for; nothing else of the service waits for it.

        Raises
        ------
        HTTPException
            429 where many wait already.
        """
        if self._waiting >= MOST_WAITING:
            raise too_many("Many pictures are waiting to be drawn.", 1)
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._worker.submit(work))
        finally:
            self._waiting -= 1

    def bundle(self, name: str) -> Bundle:
        """The bundle of that name.

        Raises
        ------
        HTTPException
            404 if it is not served.
        """
        if name not in self.bundles:
            raise HTTPException(404, f"There is no bundle of this name; choose {' or '.join(self.bundles)}.")
        return self.bundles[name]

    def frame(self, scene: Scene) -> NDArray[np.float32]:
        """The frame (channel, y, x) of a scene, in the cube's units.

        Raises
        ------
        UsageError
            If the bundle has no such direction.
        """
        bundle = self.bundle(scene.bundle)
        key = bundle.hash, scene.key
        if key not in self._frames:
            self._frames[key] = Sampler(bundle, _request(bundle, scene)).sketch(0)
        self._frames.move_to_end(key)
        while len(self._frames) > FRAMES_KEPT:
            self._frames.popitem(last=False)
        return self._frames[key]

    def reading(self, scene: Scene) -> Reading | None:
        """What the bundle's critic reads off a scene's frame; None where the bundle has none."""
        bundle = self.bundle(scene.bundle)
        if bundle.critic is None:
            return None
        return bundle.critic.read(bundle.info.scaling.scale(torch.from_numpy(self.frame(scene)[None])))


def _request(bundle: Bundle, scene: Scene) -> Request:
    labels = bundle.info.network.labels
    return Request(
        n=1,
        seed=scene.seed,
        steer=scene.steering,
        truncation=scene.truncation,
        conditions=(scene.fluxes(labels),) if labels else None,
    )
