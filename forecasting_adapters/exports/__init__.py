"""Synthetic cubes in the layouts that other projects' loaders read, and back.

`exporting` has frames written, `preparing` brings them into a project's units and geometry before, `reading` opens what
was written as a synthetic cube again. `note` keeps ``SYNTHETIC.json``, which says where an export comes from, and
`times` the times that synthetic frames may bear. A module for each project knows its layout, `registry` finds it, and
`contract` is what joins them.
"""

from forecasting_adapters.exports.contract import Ecosystem, Frame, Plan
from forecasting_adapters.exports.exporting import export
from forecasting_adapters.exports.note import is_export
from forecasting_adapters.exports.reading import open_export
from forecasting_adapters.exports.registry import NAMES, ecosystem

__all__ = ["NAMES", "Ecosystem", "Frame", "Plan", "ecosystem", "export", "is_export", "open_export"]
