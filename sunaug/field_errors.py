"""What pydantic finds wrong with a YAML or JSON file, in the words of whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

__all__ = ["field_error"]

_WHOLE = "{input} is not a whole number"
_NUMBER = "{input} is not a number"
_YES_NO = "{input} is neither true nor false"
_TEXT = "{input} is not text"
_LIST = "{input} is not a list"
_NAMES = "{input} is not a group of names and values"

_SENTENCES = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _YES_NO),
    **dict.fromkeys(("string_type", "path_type"), _TEXT),
    **dict.fromkeys(("list_type", "tuple_type", "set_type"), _LIST),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "mapping_type"), _NAMES),
    "missing": "is missing",
    "extra_forbidden": "unknown name",
    "greater_than": "{input} is not above {gt}",
    "greater_than_equal": "{input} is below {ge}",
    "less_than": "{input} is not below {lt}",
    "less_than_equal": "{input} is above {le}",
    "literal_error": "{input} is none of {expected}",
    "enum": "{input} is none of {expected}",
    "string_pattern_mismatch": "{input} does not match {pattern}",
    "none_required": "{input} has to be left empty",
}
_LONGEST = 60


def field_error(error: ValidationError) -> str:
    """The first thing that is wrong, and where: ``generate: n: 'many' is not a whole number``.

    Parameters
    ----------
    error : pydantic.ValidationError

    Returns
    -------
    str
        Without a full stop.
    """
    first = error.errors()[0]
    where = "".join(f"{part}: " for part in first["loc"])
    return where + _what(first)


def _what(found: Mapping[str, Any]) -> str:
    if found["type"] == "value_error":
        return str(found["ctx"]["error"]).rstrip(".")
    sentence = _SENTENCES.get(found["type"])
    if found["type"] == "is_instance_of":
        sentence = _NAMES if found["ctx"]["class"] == "Mapping" else _LIST
    if sentence is None:
        return str(found["msg"]).rstrip(".")
    given = repr(found["input"])
    shown = given if len(given) <= _LONGEST else f"{given[: _LONGEST - 3]}..."
    return sentence.format(input=shown, **found.get("ctx", {}))
