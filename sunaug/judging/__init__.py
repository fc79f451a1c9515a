"""Human judges: people are shown real and synthetic frames and say which is which.

`trials` chooses the frames and lays down a judge's order, `frames` draws them, `answers` keeps the answers in SQLite,
`results` sums them up, and `app` is the page in the browser (extra ``service``).
"""

from sunaug.judging.answers import Answered, Answers, Experiment, read_answers
from sunaug.judging.frames import Frames
from sunaug.judging.results import sum_up, wilson_interval
from sunaug.judging.trials import MODES, Choice, Trial, choose, judge_name, trials_of

__all__ = [
    "MODES",
    "Answered",
    "Answers",
    "Choice",
    "Experiment",
    "Frames",
    "Trial",
    "choose",
    "judge_name",
    "read_answers",
    "sum_up",
    "trials_of",
    "wilson_interval",
]
