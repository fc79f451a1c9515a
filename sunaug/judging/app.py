"""The page for human judges, a FastAPI application.

What a judge sees must not betray the answer: addresses hold the number of a trial and nothing else, every picture is
drawn and encoded in the same way, nothing may be kept by the browser, and no truth is sent before the last answer.
Needs the extra ``service``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, unquote

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader

from sunaug.errors import UsageError
from sunaug.judging.answers import Answered, Answers
from sunaug.judging.frames import Frames
from sunaug.judging.results import share
from sunaug.judging.trials import SIDES, Choice, judge_name, trials_of
from sunaug.lexicon import channel

__all__ = ["make_app"]

COOKIE = "judge"
COOKIE_SECONDS = 90 * 24 * 3600
GRACE_SECONDS = 2.0
"""A picture is given out for this long after its time: the browser's clock runs later than the server's."""

_FORM_BYTES = 4096
_LONGEST_ANSWER_MS = 24 * 3600 * 1000
_STATIC = {"judging.css": "text/css", "judging.js": "text/javascript", "icon.svg": "image/svg+xml"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


async def _form(request: Request) -> dict[str, str]:
    """Fields of a form that was sent; python-multipart would be one more package for as much."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES:
            raise HTTPException(413, "The form is too long.")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=8)
    except ValueError:  # UnicodeDecodeError is one
        raise HTTPException(400, "The form cannot be read.") from None
    return {name: values[-1] for name, values in fields.items()}


def _cookie(request: Request) -> str | None:
    """The name that the browser was given, whether or not somebody of that name has begun."""
    try:
        return judge_name(unquote(request.cookies.get(COOKIE, "")))
    except UsageError:
        return None


Form = Annotated[dict[str, str], Depends(_form)]
Named = Annotated[str | None, Depends(_cookie)]


def make_app(answers: Answers, frames: Frames, choice: Choice) -> FastAPI:
    """The page as an ASGI application.

    Parameters
    ----------
    answers : Answers
        Database, for the same experiment as `choice`.
    frames : Frames
        Where the pictures come from.
    choice : Choice
        The frames of the experiment.

    Returns
    -------
    fastapi.FastAPI
    """
    app = FastAPI(title="sunaug judge", docs_url=None, redoc_url=None, openapi_url=None)
    experiment = answers.experiment
    labels = [channel(name).label for name in frames.channels]
    views = ("image",) if choice.mode == "single" else SIDES["pair"]
    templates = Environment(loader=PackageLoader("sunaug.judging"), autoescape=True)
    templates.globals.update(
        mode=choice.mode, n=choice.n, seconds=experiment.seconds, labels=labels, views=views, sides=SIDES[choice.mode]
    )

    def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(templates.get_template(f"{template}.html").render(**values), status)

    def notice(status: int, heading: str, text: str) -> HTMLResponse:
        return page("notice", status, heading=heading, text=text)

    def session(judge: str | None) -> list[Answered]:
        return answers.session(judge) if judge else []

    def own_trial(judge: str | None, number: int) -> tuple[Answered, bool]:
        """A trial of the judge that may be seen, and whether all have their answers."""
        trials = session(judge)
        turn = _turn(trials)
        if not 1 <= number <= len(trials) or (turn is not None and number != turn):
            raise HTTPException(404, "This picture is not on show.")
        return trials[number - 1], turn is None

    @app.middleware("http")
    async def add_headers(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call(request)
        response.headers.update(_HEADERS)
        return response

    @app.exception_handler(HTTPException)
    def refuse(request: Request, error: HTTPException) -> Response:
        return notice(error.status_code, "This did not work", str(error.detail))

    @app.get("/")
    def start(judge: Named) -> Response:
        trials = session(judge)
        return page("start", name=judge if trials else None, done=_done(trials))

    @app.post("/judge")
    def enter(form: Form) -> Response:
        try:
            name = judge_name(form.get("name", ""))
        except UsageError as error:
            return page("start", 422, typed=form.get("name", "")[:200], wrong=str(error), name=None)
        known = answers.name(name)
        if known and form.get("again") != "yes":
            return page("start", 200, name=known, done=_done(answers.session(known)), asked=True)
        answers.begin(name, trials_of(choice, name, experiment.seed))
        response = RedirectResponse("/trial", 303)
        response.set_cookie(
            COOKIE, quote(known or name), max_age=COOKIE_SECONDS, httponly=True, samesite="strict", path="/"
        )
        return response

    @app.post("/leave")
    def leave() -> Response:
        response = RedirectResponse("/", 303)
        response.delete_cookie(COOKIE, path="/")
        return response

    @app.get("/trial")
    def go_on(judge: Named) -> Response:
        trials = session(judge)
        turn = _turn(trials)
        return RedirectResponse("/" if not trials else "/done" if turn is None else f"/trial/{turn}", 303)

    @app.get("/trial/{number}")
    def show(number: int, judge: Named) -> Response:
        trials = session(judge)
        if number != _turn(trials):
            return go_on(judge)
        left = _seconds_left(trials[number - 1], experiment.seconds)
        return page("trial", number=number, judge=trials[0].judge, left=left)

    @app.post("/trial/{number}/shown")
    def note_shown(number: int, judge: Named) -> Response:
        own_trial(judge, number)
        answers.show(str(judge), number)
        return Response(status_code=204)

    @app.post("/trial/{number}")
    def answer(number: int, judge: Named, form: Form) -> Response:
        trials = session(judge)
        if not trials:
            return notice(403, "Who are you?", "Please enter your name first; this answer was not stored.")
        if not 1 <= number <= len(trials):
            raise HTTPException(404, f"There are {len(trials)} pictures, and this is none of them.")
        given = form.get("answer")
        if given not in SIDES[choice.mode]:
            return notice(422, "No answer", "Please choose one of the two answers; nothing was stored.")
        if not answers.answer(str(judge), number, given, _milliseconds(form.get("milliseconds"))):
            return notice(
                409,
                "Answered already" if trials[number - 1].answer else "Not its turn yet",
                f"Picture {number} takes one answer, when its turn has come; this one was not stored.",
            )
        return RedirectResponse("/trial", 303)

    @app.get("/trial/{number}/{view}.png")
    def thumbnail(number: int, view: str, judge: Named) -> Response:
        trial, finished = own_trial(judge, number)
        shown = trial.trial.shown(view) if view in views and finished else None
        if shown is None:
            raise HTTPException(404, "This picture is not on show.")
        return Response(frames.thumbnail(shown), media_type="image/png")

    @app.get("/trial/{number}/{view}/{panel}.png")
    def picture(number: int, view: str, panel: int, judge: Named) -> Response:
        trial, finished = own_trial(judge, number)
        shown = trial.trial.shown(view) if view in views and 0 <= panel < len(labels) else None
        if shown is None:
            raise HTTPException(404, "This picture is not on show.")
        left = _seconds_left(trial, experiment.seconds)
        if not finished and left is not None and left < -GRACE_SECONDS:
            raise HTTPException(410, "The time of this picture is over.")
        return Response(frames.panel(shown, panel), media_type="image/png")

    @app.get("/done")
    def done(judge: Named) -> Response:
        trials = session(judge)
        if not trials or _turn(trials) is not None:
            return go_on(judge)
        figures = share([bool(one.correct) for one in trials])
        return page("done", judge=trials[0].judge, trials=trials, figures=figures)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise HTTPException(404, "There is no such file.")
        return FileResponse(Path(__file__).with_name("static") / name, media_type=_STATIC[name])

    return app


def _turn(trials: list[Answered]) -> int | None:
    """Number of the trial that waits for its answer; None where none does."""
    return next((one.trial.number for one in trials if one.answer is None), None)


def _done(trials: list[Answered]) -> int:
    return sum(one.answer is not None for one in trials)


def _seconds_left(trial: Answered, seconds: float | None) -> float | None:
    """How long the pictures of a trial may still be seen, below zero afterwards; None without a limit."""
    if seconds is None or trial.shown is None:
        return seconds
    return seconds - (datetime.now(UTC) - datetime.fromisoformat(trial.shown)).total_seconds()


def _milliseconds(text: str | None) -> int | None:
    """What a browser measured, where that can be true."""
    measured = int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
    return measured if measured is not None and measured <= _LONGEST_ANSWER_MS else None
