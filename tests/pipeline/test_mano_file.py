"""The user's own MANO: files of its structure are converted, and no other pickle runs or passes."""

from __future__ import annotations

import builtins
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))
import fake_mano

from annotator.cli import app
from pipeline.errors import MissingWeights, PipelineError
from pipeline.hand_model import load_hand, mano_file
from pipeline.hand_model.inert_pickle import UnsafePickle, read_pickle
from pipeline.hand_model.mano_layout import BadManoFile, read_mano
from pipeline.hand_model.model import ASSETS
from pipeline.hand_model.skin_labels import label_skin
from pipeline.hand_model.wrist import close_wrist
from pipeline.types import HandPose, Side


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as MANO's makers publish it; read only."""
    folder = tmp_path_factory.mktemp("mano_v1_2") / "models"
    folder.mkdir()
    for side in mano_file.SIDES:
        (folder / f"MANO_{side.upper()}.pkl").write_bytes(fake_mano.pickled(side))
    (folder / "LICENSE.txt").write_text("theirs")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _posed(side: Side, name: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    pose = HandPose(side, rng.normal(size=3), rng.normal(size=45) * 0.2, rng.normal(size=10), np.zeros(3))
    return load_hand(side, name).posed(pose)[0]


@pytest.mark.parametrize("side", mano_file.SIDES)
def test_arrays_are_those_of_the_file(side: Side, published: Path) -> None:
    """The left hand's shape directions included, which the published file has wrong."""
    added = mano_file.add_mano(published)
    assert [(hand.side, hand.shape_fixed) for hand in added] == [("right", False), ("left", True)]
    expected = fake_mano.arrays(side)
    with np.load(mano_file.mano_path(side), allow_pickle=False) as data:
        for name in ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "hands_components"):
            np.testing.assert_allclose(data[name], expected[name], atol=1e-6, err_msg=name)
        assert "non-commercial" in str(data["licence"])
    model = load_hand(side, "mano")
    assert np.isfinite(_posed(side, "mano")).all()
    edges = np.sort(model.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all(), "not closed at the wrist"


def test_labels_are_those_of_the_same_skin(published: Path) -> None:
    """The fake hand is the open hand under other numbers: zones must follow the skin, not the numbers."""
    mano_file.add_mano(published)
    mano, own = load_hand("right", "mano"), load_hand("right")
    rest = HandPose("right", np.zeros(3), np.zeros(45), np.zeros(10), np.zeros(3))
    verts, other = mano.posed(rest)[0], own.posed(rest)[0]
    for part in range(1, 7):
        here, there = verts[mano.zone == part].mean(0), other[own.zone == part].mean(0)
        assert np.linalg.norm(here - there) < 0.012
    assert (np.bincount(mano.zone) > 5).all()


def test_labels_and_wrist_of_the_open_hand_are_those_it_comes_with() -> None:
    data = np.load(ASSETS / "OPEN_HAND_RIGHT.npz")
    verts, weights = data["v_template"].astype(float), data["weights"].astype(float)
    faces, joints = data["f"].astype(np.int64), data["J_regressor"].astype(float) @ verts
    labels = label_skin(verts, faces, weights, joints, data["tip_ids"])
    for name, found in labels._asdict().items():
        np.testing.assert_array_equal(found, data[name], err_msg=name)
    closed = close_wrist(verts, faces[:1538])
    assert (closed[:1538] == faces[:1538]).all()
    assert closed.shape == (1552, 3)
    assert _volume(verts, closed) == pytest.approx(_volume(verts, faces), rel=1e-3)
    with pytest.raises(PipelineError, match="no single border"):
        close_wrist(verts, faces)
    with pytest.raises(PipelineError, match="no single border"):
        close_wrist(verts, faces[1:1538])
    with pytest.raises(PipelineError, match="same way"):
        close_wrist(verts, np.concatenate([faces[:1537], faces[1537:1538, ::-1]]))


def _volume(verts: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = verts[faces].transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_every_protocol_of_python_2(protocol: int) -> None:
    side, layout = read_mano(fake_mano.dumps(fake_mano.published("right"), protocol))
    assert side == "right"
    np.testing.assert_allclose(layout["shapedirs"], fake_mano.arrays("right")["shapedirs"], atol=1e-8)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_file_that_somebody_saved_again_without_chumpy(protocol: int) -> None:
    side, layout = read_mano(pickle.dumps(fake_mano.arrays("left"), protocol))
    assert side == "left"
    np.testing.assert_allclose(layout["posedirs"], fake_mano.arrays("left")["posedirs"], atol=1e-8)


def test_a_left_file_alone_needs_the_right_one(published: Path) -> None:
    with pytest.raises(BadManoFile, match=r"add MANO_RIGHT\.pkl first"):
        mano_file.add_mano(published / "MANO_LEFT.pkl")
    mano_file.add_mano(published / "MANO_RIGHT.pkl")
    (left,) = mano_file.add_mano(published / "MANO_LEFT.pkl")
    assert left.shape_fixed


def test_a_zip_as_it_is_downloaded(published: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mano.zip", "w") as archive:
        for path in sorted(published.iterdir()):
            archive.write(path, f"mano_v1_2/models/{path.name}")
    assert [hand.side for hand in mano_file.add_mano(tmp_path / "mano.zip")] == ["right", "left"]


def test_commands(published: Path, cache: Path) -> None:
    runner = CliRunner()
    with pytest.raises(MissingWeights, match="models add-mano"):
        load_hand("right", "mano")
    assert "mano_right" in runner.invoke(app, ["models", "list"]).stdout
    done = runner.invoke(app, ["models", "add-mano", str(published)])
    assert done.exit_code == 0
    assert done.stdout.split() == [str(cache / "mano" / f"MANO_{side}.npz") for side in ("RIGHT", "LEFT")]
    terms = runner.invoke(app, ["models", "licences"]).stdout
    assert "MANO licence: non-commercial" in terms


class Attack:
    """A pickle of it calls something when it is read."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self._call = (call, args)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def _attacks(marker: Path) -> dict[str, Any]:
    command = f"touch {marker}"
    return {
        "system": Attack(os.system, command),
        "eval": Attack(builtins.eval, f"__import__('os').system({command!r})"),
        "exec": {"v_template": Attack(builtins.exec, f"open({str(marker)!r}, 'w')")},
        "open": Attack(open, str(marker), "w"),
        "getattr": Attack(getattr, "text", "upper"),
        "path": marker,
        "frombuffer": Attack(np.fromfile, str(marker)),
    }


@pytest.mark.parametrize("name", sorted(_attacks(Path("x"))))
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_attacks_are_refused_and_run_nothing(name: str, protocol: int, tmp_path: Path, cache: Path) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "MANO_RIGHT.pkl"
    attack = _attacks(marker)[name]
    path.write_bytes(pickle.dumps(attack, protocol))
    with pytest.raises(BadManoFile, match=r"MANO_RIGHT\.pkl: refused") as refused:
        mano_file.add_mano(path)
    assert "\n" not in str(refused.value)
    assert not marker.exists()
    assert not (cache / "mano").exists()


GLOBAL_NDARRAY, STATE = b"cnumpy\nndarray\n", b"}U\x07__new__K\x01s"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02" + GLOBAL_NDARRAY + STATE + b"b.",  # gives the holder's class new attributes
        b"\x80\x02" + GLOBAL_NDARRAY + b"N" + STATE + b"\x86b.",  # the same by way of slots
        b"\x80\x02cnumpy\nndarray.__class__\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.",
        b"\x80\x02cscipy.sparse._csc.os\nsystem\n.",
        b"\x80\x02cchumpy.ch;os\nsystem\n.",
        b"\x80\x02U\x04name" + b"Q.",  # a persistent id
        b"\x80\x02\x82\x01.",  # an extension of copyreg
        b"\x80\x02}r\xff\xff\xff\x7f(",  # room for two thousand million memos
        b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00a.",  # a bytearray of a terabyte
    ],
)
def test_pickles_made_by_hand_are_refused_and_change_nothing(content: bytes) -> None:
    from pipeline.hand_model import inert_pickle

    classes = [c for c in vars(inert_pickle).values() if isinstance(c, type)]
    before = [dict(vars(c)) for c in classes]
    with pytest.raises(UnsafePickle):
        read_pickle(content)
    assert [dict(vars(c)) for c in classes] == before


def _sparse(**changes: Any) -> bytes:
    regressor = fake_mano.published("right")["J_regressor"]
    regressor.__dict__.update(changes)
    return fake_mano.dumps({**fake_mano.published("right"), "J_regressor": regressor})


def _scaled(factor: float) -> dict[str, Any]:
    hand = fake_mano.published("right")
    return {**hand, "v_template": hand["v_template"] * factor}


def _renumbered() -> dict[str, Any]:
    hand = fake_mano.published("right")
    return {**hand, "weights": hand["weights"][::-1].copy()}


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in fake_mano.published("right").items() if name != key}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: b"", "refused"),
        (lambda: b"a text", "refused"),
        (lambda: fake_mano.pickled("right")[:-1000], "refused"),
        (lambda: fake_mano.dumps({"v_template": 1}), "is not MANO's"),
        (lambda: fake_mano.dumps(_without("weights")), "has no 'weights'"),
        (lambda: fake_mano.dumps({**fake_mano.published("right"), "v_template": np.zeros((10, 3))}), "778"),
        (
            lambda: fake_mano.dumps({**fake_mano.published("right"), "v_template": np.full((778, 3), np.nan)}),
            "not finite",
        ),
        (lambda: fake_mano.dumps({**fake_mano.published("right"), "weights": ["x"] * 3}), "list where an array"),
        (lambda: fake_mano.dumps({**fake_mano.published("right"), "weights": np.array([{}])}), "no plain number"),
        (lambda: _sparse(_shape=(2**40, 2**40)), "too large"),
        (lambda: _sparse(indptr=np.array([0, 2**40])), "do not fit together"),
        (lambda: fake_mano.dumps(_scaled(1000)), "no length in metres"),
        (lambda: fake_mano.dumps(_renumbered()), "not in MANO's order"),
    ],
)
def test_other_files_are_one_clear_line(change: Callable[[], bytes], said: str, tmp_path: Path) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(change())
    with pytest.raises(BadManoFile, match=said) as refused:
        mano_file.add_mano(path)
    assert str(refused.value).startswith(str(path))


def test_a_name_that_contradicts_the_hand(published: Path, tmp_path: Path) -> None:
    (tmp_path / "MANO_LEFT.pkl").write_bytes((published / "MANO_RIGHT.pkl").read_bytes())
    with pytest.raises(BadManoFile, match="its name says left"):
        mano_file.add_mano(tmp_path / "MANO_LEFT.pkl")
    with pytest.raises(BadManoFile, match=r"holds no MANO_RIGHT\.pkl"):
        mano_file.add_mano(ASSETS)
    with pytest.raises(BadManoFile, match="cannot be read"):
        mano_file.add_mano(tmp_path / "nothing.pkl")
