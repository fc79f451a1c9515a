"""What an evaluation has found, for people: one page that stands alone, and two cubes side by side."""

from __future__ import annotations

from sunaug.fidelity.report.page import render_report, write_report
from sunaug.fidelity.report.versus import set_side_by_side

__all__ = ["render_report", "set_side_by_side", "write_report"]
