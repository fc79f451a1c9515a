"""What became of the samples that were made: rejected ones stay in the account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Account", "Rejections"]


@dataclass(frozen=True)
class Rejections:
    """Single samples that are rejected.

    Attributes
    ----------
    number : int
    why : dict of str to int
        Their number, by reason; one sample can have several.
    """

    number: int
    why: dict[str, int]

    def and_(self, number: int, why: Mapping[str, int]) -> Rejections:
        """These and others."""
        names = dict.fromkeys([*self.why, *why])
        return Rejections(self.number + number, {name: self.why.get(name, 0) + why.get(name, 0) for name in names})


@dataclass(frozen=True)
class Account:
    """What became of the samples that were made: a rejected one stays in the account.

    Attributes
    ----------
    made : int
    rejections : Rejections
    drop : bool
        Whether the set is judged without the samples that are rejected.
    """

    made: int
    rejections: Rejections
    drop: bool

    @property
    def judged(self) -> int:
        """Samples that the set is judged by."""
        return self.made - self.rejections.number if self.drop else self.made

    @property
    def sentence(self) -> str:
        """``512 made, 63 rejected (limb_radius aia94 49, far from all real frames 14), 449 judged``."""
        why = ", ".join(f"{name} {number:,}" for name, number in self.rejections.why.items())
        rejected = f"{self.rejections.number:,} rejected" + (f" ({why})" if why else "")
        return f"{self.made:,} made, {rejected}, {self.judged:,} judged"

    def described(self) -> dict[str, Any]:
        """``made``, ``rejected`` (also as ``dropped``), ``judged``, ``why_rejected`` (``why_dropped``), ``account``."""
        return {
            "made": self.made,
            "rejected": self.rejections.number,
            "judged": self.judged,
            "why_rejected": self.rejections.why,
            "dropped": self.rejections.number,
            "why_dropped": self.rejections.why,
            "account": self.sentence,
        }
