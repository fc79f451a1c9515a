"""The rejection of an input, which every reader and every rule of plausibility raises."""

from __future__ import annotations

import numpy as np

from sunaug.errors import SunaugError

__all__ = ["RejectedFile"]


class RejectedFile(SunaugError):
    """A file that cannot become (part of) a frame; the message is the reason, without the file's name.

    `time` is the time of observation where that much could be read; `member` names the place in a file of many frames.
    """

    def __init__(self, reason: str, time: np.datetime64 | None = None, member: str = ""):
        super().__init__(reason)
        self.reason = reason
        self.time = time
        self.member = member

    def __reduce__(self) -> tuple[type, tuple[str, np.datetime64 | None, str]]:
        return type(self), (self.reason, self.time, self.member)
