"""The registry of formats."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from exports import base
from exports.base import ExportError, format_names, get_format


class PluginFormat:
    name = "plugin"


def test_built_in() -> None:
    assert "obman" in format_names()
    assert get_format("obman").name == "obman"


def test_unknown_names_the_known() -> None:
    with pytest.raises(ExportError, match=r"'obmann'.*obman"):
        get_format("obmann")


def test_plugins_add_and_never_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = [
        EntryPoint("plugin", f"{__name__}:PluginFormat", base.ENTRY_POINT_GROUP),
        EntryPoint("obman", f"{__name__}:PluginFormat", base.ENTRY_POINT_GROUP),
        EntryPoint("broken", "no.such.module:Format", base.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(base, "entry_points", lambda group: plugins if group == base.ENTRY_POINT_GROUP else [])
    assert {"broken", "obman", "plugin"} <= set(format_names())
    assert isinstance(get_format("plugin"), PluginFormat)
    assert not isinstance(get_format("obman"), PluginFormat)
    with pytest.raises(ExportError, match=r"broken.*no\.such\.module"):
        get_format("broken")
