"""The registry of formats."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from synthetic_pairs import make_record

from exports import base
from exports.base import ExportError, format_names, get_format
from exports.verify import verify


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


@pytest.mark.parametrize("name", sorted(base.BUILT_IN))
def test_a_pair_without_a_mesh_costs_no_other_one(name: str, tmp_path: Path) -> None:
    record = make_record(0)
    made = record.reconstruction
    whole = made.object.mesh
    nothing = replace(whole, vertices=np.zeros((0, 3)), faces=np.zeros((0, 3), np.int64), uv=np.zeros((0, 2)))
    without = {"no vertex": nothing, "no face": replace(whole, faces=nothing.faces)}
    records = [
        replace(record, pair_id=pair, reconstruction=replace(made, object=replace(made.object, mesh=mesh)))
        for pair, mesh in without.items()
    ]
    options = {"points": 200} if name == "gsdf" else {}
    summary = get_format(name).write([record, *records], tmp_path / "out", **options)
    if name in ("coco", "freihand"):  # they have no place for it
        assert summary.count == 3
    else:
        assert summary.count == 1
        assert [pair for pair, _ in summary.skipped] == sorted(without)
        assert all("mesh" in reason for _, reason in summary.skipped)
    assert verify(tmp_path / "out") == []
