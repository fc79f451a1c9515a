"""What all arms of a comparison share: the frames' size, the label, the forecaster, the length of its training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]

Count = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """Settings of a comparison; the defaults were chosen for the arm of real frames alone, see docs/does-it-help.md.

    Attributes
    ----------
    size : int
        Width and height of the frames in pixels; larger cubes are averaged down.
    label : {"forecast", "nowcast"}
    threshold : str
        GOES class from which on a frame is positive.
    model : str
        Forecaster by import path, ``package.module:factory``: called with (channels, size), it gives a network from
        images (n, channels, size, size) to logits (n,) or (n, 1).
    epochs : int
        Passes over the real frames. They set the number of steps, which is the same for every arm.
    batch : int
    learning_rate, weight_decay : float
        Of AdamW, with a rate that rises over a tenth of the steps and falls along a cosine.
    average_steps : int
        Half-life, in steps, of the average of the weights that is kept and judged.
    checkpoints : int
        Moments of the training, evenly spread, whose averaged weights are kept; validation chooses among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Count = 64
    label: Literal["forecast", "nowcast"] = "forecast"
    threshold: str = "M1.0"
    model: str = "forecasting_adapters.experiment.forecaster:CompactCNN"
    epochs: Count = 6
    batch: Count = 64
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    average_steps: Count = 20
    checkpoints: Count = 6
