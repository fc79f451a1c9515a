"""Write the results of a comparison into docs/does-it-help.md.

    sunaug forecast-benchmark --cube sdo2012.zarr --synthetic rare.zarr --synthetic plain.zarr --out comparison --final
    python -m benchmarks.does_it_help comparison

puts the tables of the stages that `comparison` holds behind the page's mark, the figures beside the page, and all
numbers into benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "does-it-help.md"
RESULTS = Path(__file__).parent / "results"
MARK = "<!-- results -->"


def section(folder: Path, stage: str, figure: str) -> str:
    """Heading, what was compared, the table and the figure of one stage."""
    figures = json.loads((folder / f"{stage}.json").read_text(encoding="utf-8"))
    cubes = ", ".join(
        f"`{one['name']}` ({one['bundle_name']}, gate: {one['gate']}, {one['samples']['positive']:,} positive and "
        f"{one['samples']['negative']:,} negative)"
        for one in figures["synthetic"]
    )
    seconds = sum(one["training"]["seconds"] for one in figures["arms"]) / len(figures["arms"])
    steps = figures["arms"][0]["training"]["steps"]
    about = (
        f"`{figures['cube']['name']}`, {figures['days']} days; synthetic: {cubes or 'none'}; "
        f"{figures['settings']['size']} pixels, {steps} steps, {seconds:.0f} s a run."
    )
    table = (folder / f"{stage}.md").read_text(encoding="utf-8")
    return f"### {stage.capitalize()}\n\n{about}\n\n{table}\n![{stage.capitalize()}]({figure})\n"


def write_page(folder: Path, page: Path, results: Path) -> list[str]:
    """Replace what stands behind the page's mark, and keep the numbers; returns the stages that were written."""
    stages = [stage for stage in ("test", "validation") if (folder / f"{stage}.json").exists()]
    text = page.read_text(encoding="utf-8")
    parts = []
    for stage in stages:
        figure = page.with_name(f"{page.stem}-{stage}.png")
        shutil.copyfile(folder / f"{stage}.png", figure)
        shutil.copyfile(folder / f"{stage}.json", results / f"{page.stem}-{stage}.json")
        parts.append(section(folder, stage, figure.name))
    page.write_text(text[: text.index(MARK) + len(MARK)] + "\n\n" + "\n".join(parts), encoding="utf-8")
    return stages


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", type=Path, help="folder that sunaug forecast-benchmark wrote (--out)")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write into (default: docs/does-it-help.md)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the numbers")
    arguments = parser.parse_args(argv)
    stages = write_page(arguments.comparison, arguments.page, arguments.results)
    if not stages:
        print(f"{arguments.comparison}: holds no results; run sunaug forecast-benchmark first.", file=sys.stderr)
        return 1
    print(f"{arguments.page}: {', '.join(stages)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
