"""The comparison of architectures: what is alike in its runs, and the page that is made of its figures."""

import pytest

from benchmarks.architectures import RECIPES, parameters, ratio, recipe_of, table
from sunaug.networks import ARCHITECTURES


def test_all_architectures_with_about_as_many_parameters():
    assert {recipe_of(name, 1000, 0).architecture for name in RECIPES} == set(ARCHITECTURES)
    counts = [parameters(recipe_of(name, 1000, 0), 32, 3) for name in RECIPES]
    assert max(counts) < 1.2 * min(counts)


def _found():
    def one(seed, frechet):
        figures = {"FID-768": {"frechet": frechet, "coverage": 0.25}} if frechet else {}
        good = {"finite": bool(frechet), "images": 500, "collapses": [250] if seed else [], "diversity": 0.5}
        return {"seed": seed, "figures": figures, "processor_seconds_per_thousand": 8.0, **good}

    runs = {"stylegan2": [one(0, 1.0), one(1, 1.2)], "biggan": [one(0, 2.0), one(1, 0)], "stylealae": [one(0, 4.4)]}
    cube = {"size": 32, "channels": ["aia171"], "intensity_scale": "browse", "samples": 10, "networks": ["FID-768"]}
    untrained = {"FID-768": {"frechet": 3.3}}
    return {
        "command": "python -m benchmarks.architectures",
        "machine": "a machine",
        "versions": {"torch": "2"},
        "images": 500,
        "seeds": [0, 1],
        "cube": cube | {"floor": {"FID-768": {"frechet": 0.1, "coverage": 0.9}}},
        "architectures": [
            {"name": name, "parameters": 1000, "untrained": untrained, "runs": some} for name, some in runs.items()
        ],
    }


def test_table():
    found = _found()
    stylegan2, biggan, stylealae, real = table(found).splitlines()[2:6]
    assert stylegan2 == "| StyleGAN2 | 1,000 | 1, 1.2 | **11.0** | **3.0** | 0.25, 0.25 | 0.50, 0.50 | 8, 8 | 0, 1 |"
    assert biggan.endswith("| 0, not finite |")
    assert "**20.0**" in biggan
    assert "**44.0**" in stylealae
    assert real.startswith("| real train frames |  | 0.1 | 1 |  | 0.90 |")
    assert ratio(found) == pytest.approx(0.55)
