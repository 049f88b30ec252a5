"""Every way to spoil one key of a JSON document."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]
ODD = (None, [], {}, "text", -1, 1e300, 10**400, True, [[1, 2], [3]], {"a": 1})  # what a check must not choke on


def key_paths(value: Any, before: Path = ()) -> Iterator[Path]:
    """Where every key of nested dicts is; of a list of dicts, the first one's keys."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*before, key)
            yield from key_paths(item, (*before, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from key_paths(value[0], (*before, 0))


def changed(document: Any, path: Path, change: str) -> Any:
    """A copy without that key ('missing'), or with a value of another 'type' or another 'value' there."""
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    if change == "missing":
        del place[path[-1]]
    elif change == "type":
        place[path[-1]] = {"other": "type"} if not isinstance(place[path[-1]], dict) else "other type"
    else:
        place[path[-1]] = other(place[path[-1]])
    return document


def replaced(document: Any, path: Path, value: Any) -> Any:
    """A copy with that value there."""
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


def other(value: Any) -> Any:
    """A wrong value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, int | float):
        return value + 7
    if isinstance(value, dict):
        return {} if value else {"more": 1}
    if isinstance(value, list):
        return [other(value[0]), *value[1:]] if value else ["x"]
    return "x"
