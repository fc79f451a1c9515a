from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from sunaug.field_errors import field_error


def _no(value):
    raise ValueError("it is never right.")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int = Field(3, ge=1, le=9)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    share: float = Field(0.5, gt=0, lt=1)
    kind: Literal["a", "b"] = "a"
    ready: bool = False
    folder: Path = Path()
    parts: list[Inner] = []
    inner: Inner = Inner()
    wrong: Annotated[int, BeforeValidator(_no)] = 1
    word: str = Field("x", pattern="^[a-z]$")

    @field_validator("ready")
    @classmethod
    def _not_yet(cls, ready):
        if ready:
            raise ValueError("nothing is ready")
        return ready


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "name: is missing"),
        ({"name": 3}, "name: 3 is not text"),
        ({"share": "much"}, "share: 'much' is not a number"),
        ({"share": 0}, "share: 0 is not above 0.0"),
        ({"share": 1.0}, "share: 1.0 is not below 1.0"),
        ({"kind": "c"}, "kind: 'c' is none of 'a' or 'b'"),
        ({"ready": "soon"}, "ready: 'soon' is neither true nor false"),
        ({"ready": True}, "ready: nothing is ready"),
        ({"folder": 3}, "folder: 3 is not text"),
        ({"parts": 3}, "parts: 3 is not a list"),
        ({"parts": [{}, {"number": "many"}]}, "parts: 1: number: 'many' is not a whole number"),
        ({"parts": [{"number": 1.5}]}, "parts: 0: number: 1.5 is not a whole number"),
        ({"inner": 3}, "inner: 3 is not a group of names and values"),
        ({"inner": {"number": 0}}, "inner: number: 0 is below 1"),
        ({"inner": {"number": 10}}, "inner: number: 10 is above 9"),
        ({"other": 1}, "other: unknown name"),
        ({"wrong": 2}, "wrong: it is never right"),
        ({"word": "AB"}, "word: 'AB' does not match ^[a-z]$"),
        ({"share": "x" * 500}, f"share: '{'x' * 56}... is not a number"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(given, sentence):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"name": "n"} | given if given else given)
    assert field_error(caught.value) == sentence
