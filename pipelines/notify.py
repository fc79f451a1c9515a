"""Webhooks: how a run ended, as JSON by POST.

The object holds ``text``, one sentence, which chat services show, and the whole report under ``report``. A webhook's
URL is a secret where knowing it is enough to post: no message names more of it than its host.
"""

from __future__ import annotations

import json
import os
import time as clock
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from urllib.parse import urlsplit

from pipelines.reports import RunReport
from pipelines.sections import NotifySection

__all__ = ["notify"]


def notify(hooks: Sequence[NotifySection], report: RunReport) -> list[str]:
    """Tell the webhooks that want to hear of a run that ended like this.

    Returns
    -------
    list of str
        A sentence for each that could not be told. That is no reason for a run to fail.
    """
    problems = [_tell(hook, report) for hook in hooks if report.status in hook.on]
    return [one for one in problems if one]


def _tell(hook: NotifySection, report: RunReport) -> str:
    """Post the report; what went wrong, empty where nothing did."""
    url = hook.url if hook.url is not None else os.environ.get(str(hook.url_env), "")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return f"{hook.url_env}: this environment variable holds no http address, so nobody was told."
    body = json.dumps({"text": report.sentence, "report": report.described()}).encode()
    problem = ""
    for attempt in range(hook.attempts):
        if attempt:
            clock.sleep(hook.wait * 2 ** (attempt - 1))
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=hook.timeout):
                return ""
        except urllib.error.HTTPError as error:
            problem = f"answered {error.code}"
        except (OSError, HTTPException, ValueError) as error:
            problem = f"did not answer ({type(error).__name__})"
    return f"the webhook at {parts.hostname} {problem} in {hook.attempts} attempts; nobody was told."
