"""Made-up frames with a quiet disk, and patches planted at known places on it."""

import numpy as np
import pytest

SIZE, RADIUS = 128, 56.0


def quiet_disks(count, seed=0, *, size=SIZE, level=40.0, offset=(0.0, 0.0), radius=None):
    """Display counts (count, y, x): an even disk with some texture, a fading corona off the limb."""
    random = np.random.default_rng(seed)
    radius = radius or RADIUS * size / SIZE
    axis = np.arange(size) - (size - 1) / 2
    distance = np.hypot(axis[None, :] - offset[0], axis[:, None] - offset[1]) / radius
    edge = 1 / (1 + np.exp((distance - 1) * radius * 2))
    corona = np.exp(-np.maximum(distance - 1, 0) * 8)
    return level * (0.8 * edge + 0.2 * corona) + random.normal(0, 0.15 * level, (count, size, size)) * edge


def patch(latitude, longitude, angle, *, size=SIZE):
    """Pixels within `angle` degrees of a point on the sphere: bool, shape (y, x); row 0 is south, column 0 east."""
    radius = RADIUS * size / SIZE
    axis = (np.arange(size) - (size - 1) / 2) / radius
    y, x = np.meshgrid(axis, axis, indexing="ij")
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    lat, lon = np.radians([latitude, longitude])
    toward = x * np.cos(lat) * np.sin(lon) + y * np.sin(lat) + z * np.cos(lat) * np.cos(lon)
    return (toward > np.cos(np.radians(angle))) & (x**2 + y**2 < 1)


@pytest.fixture(scope="session")
def disks():
    return quiet_disks


@pytest.fixture(scope="session")
def spot():
    return patch
