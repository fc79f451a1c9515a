"""Import torchvision, also where its compiled operators do not load.

Wheels of torchvision that were built for another torch fail to import with "operator torchvision::nms does not exist".
Nothing here needs these operators, so naming them is enough; packages that import torchvision (pytorch-fid,
torchmetrics, and by it Lightning) then do so without complaint.
"""

from __future__ import annotations

import torch

__all__ = ["import_torchvision"]

_operators: list[torch.library.Library] = []
"""The definitions last as long as the library object."""


def import_torchvision() -> None:
    """Import torchvision, with its operators named first where that is what it takes.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _operators.append(library)
        import torchvision  # noqa: F401
