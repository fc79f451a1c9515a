"""The arms of the comparison: what one forecaster is trained on, and how, as small declarations.

An arm without `synthetic` is a baseline. Every arm gets the same network, the same number of steps and the same seeds;
it decides only which frames a batch is drawn from and what is done to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sunaug.errors import UsageError
from sunaug.field_errors import field_error

__all__ = ["ARMS", "REFERENCE", "Arm", "SyntheticUse", "choose_arms", "load_arms"]

REFERENCE = "real"
"""Name of the arm of real frames alone, whose forecasters are the teachers of the others."""

Share = Annotated[float, Field(ge=0, le=1)]
_GROUPS = ("all", "baseline", "generative")


class SyntheticUse(BaseModel):
    """How an arm uses synthetic frames.

    Attributes
    ----------
    fill : float, optional
        Add positive samples until positives are this share of the training set.
    add : float, optional
        Add this many samples per real frame, positive and negative ones in the proportion of the real frames.
    source : str, optional
        Name of the one synthetic cube to draw from; by default all that were given.
    choose : {"random", "unsure", "errors"}
        Which samples: any; those nearest to the decision border of a forecaster of real frames alone (the teacher, of
        the same seed); those whose fluxes resemble those of the validation frames that the teacher gets wrong.
    labels : {"condition", "teacher"}
        What a sample's label is: the flux that it was made for, or the teacher's probability.
    pretrain : float
        Share of the steps made on the synthetic samples alone, before the rest on real ones alone; 0 mixes the two.
    weight : float
        Weight of a synthetic sample in the loss, beside 1 for a real one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fill: Annotated[float, Field(gt=0, lt=1)] | None = None
    add: Annotated[float, Field(gt=0)] | None = None
    source: str | None = None
    choose: Literal["random", "unsure", "errors"] = "random"
    labels: Literal["condition", "teacher"] = "condition"
    pretrain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _one_amount(self) -> SyntheticUse:
        if (self.fill is None) == (self.add is None):
            raise ValueError("give either fill or add")
        return self


class Arm(BaseModel):
    """One way to train the forecaster.

    Attributes
    ----------
    name : str
        Letters, digits, ``.``, ``-``, ``_`` and ``+``: it is a folder's name, too.
    sampling : {"natural", "oversample", "undersample"}
        Every frame once an epoch; the rarer class repeated until both are equally frequent; as many frames of the more
        frequent class, drawn anew each epoch, as there are of the other.
    class_weights : bool
        Weigh the loss by the inverse frequency of the class.
    flips, rotations : bool
        Mirror along both axes with probability one half each; turn by up to 10 degrees.
    noise : float
        Standard deviation of Gaussian noise, in scaled units (the range of an image is -1 to 1).
    mixup : float
        Parameter of the Beta distribution of mixup (Zhang et al. 2018, arXiv:1710.09412); 0 for none.
    teacher : float
        Share that the teacher's probability has in the label of a real frame (self-distillation; Furlanello et al.
        2018, arXiv:1805.04770): the non-generative counterpart of ``labels: teacher``.
    synthetic : SyntheticUse, optional
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    sampling: Literal["natural", "oversample", "undersample"] = "natural"
    class_weights: bool = False
    flips: bool = False
    rotations: bool = False
    noise: Annotated[float, Field(ge=0)] = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    teacher: Share = 0.0
    synthetic: SyntheticUse | None = None

    @property
    def kind(self) -> str:
        """``generative`` where synthetic frames are used, else ``baseline``."""
        return "baseline" if self.synthetic is None else "generative"

    @property
    def needs_teacher(self) -> bool:
        """Whether a forecaster of real frames alone has to be trained before."""
        use = self.synthetic
        return self.teacher > 0 or (use is not None and (use.choose != "random" or use.labels == "teacher"))


def _turned(name: str, **options: object) -> Arm:
    """An arm with flips and small rotations."""
    return Arm.model_validate({"name": name, "flips": True, "rotations": True, **options})


def _made(name: str, use: dict[str, object], **options: object) -> Arm:
    return Arm.model_validate({"name": name, "synthetic": use, **options})


ARMS: tuple[Arm, ...] = (
    Arm(name=REFERENCE),
    Arm(name="class-weights", class_weights=True),
    Arm(name="oversampling", sampling="oversample"),
    Arm(name="undersampling", sampling="undersample"),
    _turned("flips"),
    Arm(name="noise", noise=0.1),
    Arm(name="mixup", mixup=0.4),
    Arm(name="distilled", teacher=0.5),
    _turned("flips+class-weights", class_weights=True),
    _turned("flips+oversampling", sampling="oversample"),
    _turned("flips+noise", noise=0.1),
    _turned("flips+mixup", mixup=0.4),
    _turned("flips+distilled", teacher=0.5),
    _made("fill-40", {"fill": 0.4}),
    _made("fill-50", {"fill": 0.5}),
    _made("add-0.5", {"add": 0.5}),
    _made("add-0.8", {"add": 0.8}),
    _made("flips+fill-40", {"fill": 0.4}, flips=True, rotations=True),
    _made("flips+fill-50", {"fill": 0.5}, flips=True, rotations=True),
    _made("flips+add-0.25", {"add": 0.25}, flips=True, rotations=True),
    _made("flips+add-0.5", {"add": 0.5}, flips=True, rotations=True),
    _made("flips+add-0.8", {"add": 0.8}, flips=True, rotations=True),
    _made("flips+oversampling+add-0.5", {"add": 0.5}, flips=True, rotations=True, sampling="oversample"),
    _made("flips+class-weights+add-0.5", {"add": 0.5}, flips=True, rotations=True, class_weights=True),
    _made("pretrain", {"add": 0.8, "pretrain": 0.5}),
    _made("flips+pretrain", {"add": 0.8, "pretrain": 0.5}, flips=True, rotations=True),
    _made("flips+unsure", {"add": 0.5, "choose": "unsure"}, flips=True, rotations=True),
    _made("flips+errors", {"add": 0.5, "choose": "errors"}, flips=True, rotations=True),
    _made("flips+light", {"add": 0.5, "weight": 0.3}, flips=True, rotations=True),
    _made("flips+taught", {"add": 0.8, "labels": "teacher"}, flips=True, rotations=True),
    _made("flips+distilled+taught", {"add": 0.8, "labels": "teacher"}, flips=True, rotations=True, teacher=0.5),
)
"""The arms that come with sunaug. Which ratios stand here was decided on validation months."""


def choose_arms(names: Sequence[str], own: Iterable[Arm] = ()) -> list[Arm]:
    """Arms by name, in the order given, the reference first and none twice.

    Parameters
    ----------
    names : sequence of str
        Names of arms, or ``baseline``, ``generative``, ``all`` for all of a kind.
    own : iterable of Arm
        Arms beside those of sunaug (`load_arms`); they are part of the kinds, too.

    Raises
    ------
    UsageError
        If a name is unknown, or two arms bear the same one.
    """
    known = {arm.name: arm for arm in ARMS}
    for arm in own:
        if known.setdefault(arm.name, arm) != arm:
            raise UsageError(f"arm {arm.name!r}: that name is taken by another arm; give it another name.")
    if strange := [name for name in names if name not in known and name not in _GROUPS]:
        raise UsageError(
            f"unknown arm {strange[0]!r}: choose of {', '.join([*_GROUPS, *known])}, or describe it in a recipe."
        )
    chosen = [REFERENCE]
    for name in names:
        chosen += [name] if name in known else [arm.name for arm in known.values() if name in ("all", arm.kind)]
    return [known[name] for name in dict.fromkeys(chosen)]


def load_arms(path: str | Path) -> list[Arm]:
    """Read arms of one's own from YAML: a list of the fields of `Arm`, or a mapping whose key ``arms`` holds it.

    Raises
    ------
    UsageError
        If the file is not there, no YAML, or an arm does not pass its checks.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); give a YAML file with arms.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a recipe in YAML ({str(error).splitlines()[0]}).") from None
    listed = content.get("arms") if isinstance(content, dict) else content
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{path}: holds no list of arms; write `arms:` and an entry with a name for each.")
    try:
        return [Arm.model_validate(one) for one in listed]
    except ValidationError as error:
        raise UsageError(f"{path}: {field_error(error)}.") from error
