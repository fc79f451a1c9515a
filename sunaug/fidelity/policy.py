"""What the gate asks: which figures a set is refused for. How far they may go is measured, see `limits`."""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sunaug.errors import UsageError

__all__ = ["Policy", "load_policy", "policy_names"]


class Policy(BaseModel):
    """What the gate asks.

    Attributes
    ----------
    name : str
    gating : list of str
        Patterns (``frechet solar``, ``limb_*``) of the figures that a set is refused for; all others are reported.
    ignored : list of str
        Patterns of gating figures that are reported only.
    windows : int
        Real windows that the limits are made from, at most.
    confidence : float
        Share of the real windows that pass in all gating figures at once when they are left out of the limits.
    geometry_pixels : float
        Differences of the limb's radius, centre, width and shape below this are no reason to refuse: frames of a cube
        are not registered any better.
    minimum_frames : int
        Sets that are compared have this many frames at least; where there are fewer, the verdict is unknown.
    samples : int
        Samples that are made to judge a kind of request.
    enough : int
        A set of fewer samples is too few to judge: it may be refused, and never passes. docs/fidelity.md says how
        many samples each damage needs to be noticed.
    judges : int
        Feature networks without a part in the samples whose Fréchet distance a set needs to pass.
    unknown_share : float
        A set with a larger share of its gating checks unknown does not pass.
    drop : bool
        Whether single samples beyond what real frames show are marked as rejected, and the set is judged without them.
    drop_share : float
        A set with a larger share of such samples is refused: what a gate has to pick its samples from is no good.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    gating: list[str]
    ignored: list[str] = []
    windows: int = Field(13, ge=5, le=99)
    confidence: float = Field(0.9, ge=0.5, le=1)
    geometry_pixels: float = Field(0.1, ge=0)
    minimum_frames: int = Field(32, ge=12)
    samples: int = Field(512, ge=32)
    enough: int = Field(256, ge=12)
    judges: int = Field(1, ge=0)
    unknown_share: float = Field(0.15, ge=0, le=1)
    drop: bool = True
    drop_share: float = Field(0.25, ge=0, le=1)

    def gates(self, name: str) -> bool:
        """Whether a set can be refused for this figure."""
        return any(fnmatch(name, one) for one in self.gating) and not any(fnmatch(name, one) for one in self.ignored)

    @property
    def hash(self) -> str:
        """SHA-256 of everything that it says."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def policy_names() -> list[str]:
    """Names of the policies that come with sunaug."""
    folder = resources.files("sunaug.fidelity") / "policies"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_policy(source: str | Path = "default") -> Policy:
    """Read a policy.

    Parameters
    ----------
    source : str or pathlib.Path
        A YAML file, or the name of a policy that comes with sunaug. ``extends: default`` in a file takes over another
        one: what the file says replaces what that one says, and ``ignored`` is added to.

    Raises
    ------
    UsageError
        If there is no such policy, or it says something that no policy can.
    """
    path = Path(source)
    if str(source) in policy_names():
        text = (resources.files("sunaug.fidelity") / "policies" / f"{source}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise UsageError(f"{source}: no such policy; give a YAML file or one of {', '.join(policy_names())}.")
    try:
        content = yaml.safe_load(text)
        given = {"name": path.stem} | content if isinstance(content, dict) else {}
        if (base := given.pop("extends", None)) is not None:
            whole = load_policy(base)
            given = whole.model_dump() | given | {"ignored": [*whole.ignored, *given.get("ignored", [])]}
        return Policy.model_validate(given)
    except yaml.YAMLError as error:
        raise UsageError(f"{source}: not YAML ({str(error).splitlines()[0]}).") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the policy"
        raise UsageError(f"{source}: {where}: {first['msg']}.") from None
