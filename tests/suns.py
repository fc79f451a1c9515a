"""Made-up Suns with a disk, a limb, a corona and active regions, and cubes of them, for tests without real data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunaug.cube import FrameStatus, create_cube, write_frames

SIZE, RADIUS = 64, 28.0


def make_suns(
    count: int, seed: int, *, limb: float = 1.0, offset: tuple[float, float] = (0.0, 0.0), size: int = SIZE
) -> NDArray[np.float32]:
    """Frames (count, 3, size, size) in display counts; `limb` in stated radii, `offset` (x, y) in pixels."""
    random = np.random.default_rng(seed)
    radius = RADIUS * size / SIZE
    axis = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(axis - offset[0], axis - offset[1])
    distance = np.hypot(x, y) / radius / limb
    edge = 1 / (1 + np.exp((distance - 1) * radius * 2))
    corona = np.exp(-np.maximum(distance - 1, 0) * 8)
    frames = np.empty((count, 3, size, size))
    for frame in frames:
        regions = np.zeros_like(x)
        for _ in range(random.integers(3, 7)):
            longitude, latitude = random.uniform(-0.7, 0.7) * radius, random.choice([-1, 1]) * 0.3 * radius
            spread = random.uniform(1.0, 2.0) * size / SIZE
            regions += random.uniform(40, 110) * np.exp(-((x - longitude) ** 2 + (y - latitude) ** 2) / (2 * spread**2))
        texture = random.normal(0, 6, x.shape)
        for index, brightness in enumerate((75, 65, 30)):
            frame[index] = brightness * (0.8 * edge + 0.5 * corona) + (regions + texture) * edge * brightness / 75
    return np.clip(frames, 0, 255).astype(np.float32)


def write_cube(
    path: Path, frames: NDArray[np.floating], flux: NDArray[np.floating], times: Any = None, **attrs: Any
) -> Path:
    """Write frames with these forecasts into a cube: with `times` an observed one, without them a synthetic one."""
    create_cube(
        path,
        channels=attrs.pop("channels", ["aia171", "aia131", "aia94"]),
        size=frames.shape[-1],
        disk_radius=attrs.pop("disk_radius", RADIUS * frames.shape[-1] / SIZE),
        intensity_scale=attrs.pop("intensity_scale", "browse"),
        times=times,
        n_samples=len(frames) if times is None else None,
        attrs=attrs,
    )
    complete = np.full(len(frames), FrameStatus.COMPLETE, np.int8)
    write_frames(path, 0, {"intensity": frames, "forecast_flux": flux, "frame_status": complete})
    return path
