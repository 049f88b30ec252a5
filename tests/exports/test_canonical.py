"""The canonical format, read back by the libraries its users have, and by its own reader without loss."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from synthetic_pairs import make_record

from exports import manifest
from exports.base import ExportError, Record, get_format
from exports.canonical import read, tar
from exports.canonical.sample import depth_of
from exports.verify import verify
from pipeline.codec import encode
from pipeline.hand_model import load_hand
from pipeline.types import Reconstruction

SPLIT: dict[str, Any] = {"split": "train=0.6,val=0.4", "seed": 2}  # some in each


@pytest.fixture(scope="module")
def pairs() -> list[Record]:
    made = [make_record(i, "left" if i % 2 else "right", pair_id=f"пара-{i}") for i in range(5)]
    told = replace(made[0].reconstruction, metrics={"hand_iou": 0.5, "penetration_mm": float("nan")})
    return [replace(made[0], reconstruction=told, provenance={"object_id": "чашка", "licence": "CC0-1.0"}), *made[1:]]


@pytest.fixture(scope="module")
def root(pairs: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pairs in two splits, two in a shard, pictures without loss; read only."""
    out = tmp_path_factory.mktemp("canonical") / "dataset"
    summary = get_format("canonical").write(pairs, out, shard=2, pictures="png", **SPLIT)
    assert summary.count == 5
    return out


@pytest.fixture
def export(root: Path, tmp_path: Path) -> Path:
    return shutil.copytree(root, tmp_path / "dataset")


def _samples(root: Path) -> dict[str, dict[str, bytes]]:
    return {sample_id: found for path in sorted(root.glob("*.tar")) for sample_id, _, found in tar.samples(path)}


def _by_pair(root: Path) -> dict[str, str]:
    return {sample["pair_id"]: sample["id"] for sample in manifest.read(root)["samples"]}


def test_verify(root: Path) -> None:
    assert verify(root) == []
    assert len(list(root.glob("*.tar"))) >= 3
    assert not (root / ".pieces").exists()


def test_every_number_comes_back(root: Path, pairs: list[Record]) -> None:
    """All but what the module of the reader says: float32 vertices and distances."""
    samples, ids = _samples(root), _by_pair(root)
    for pair in pairs:
        found = read.record_of(samples[ids[pair.pair_id]])
        assert (found.pair_id, found.revision, found.provenance) == (pair.pair_id, pair.revision, pair.provenance)
        assert (found.photo.image == pair.photo.image).all()
        assert found.photo.sha256 == pair.photo.sha256
        assert encode(found.reconstruction) == encode(_through_float32(pair.reconstruction))


def _through_float32(made: Reconstruction) -> Reconstruction:
    def short(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).astype(np.float64)

    mesh = replace(made.object.mesh, vertices=short(made.object.mesh.vertices), uv=short(made.object.mesh.uv))
    return replace(
        made,
        hand_verts=short(made.hand_verts),
        object=replace(made.object, mesh=mesh),
        contacts=replace(made.contacts, distance=short(made.contacts.distance)),
    )


def test_datasets_loads_the_folder(root: Path, pairs: list[Record], tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(str(root), cache_dir=str(tmp_path))
    assert {name: len(part) for name, part in loaded.items()} == {
        split: sum(sample["split"] == split for sample in manifest.read(root)["samples"]) for split in ("train", "val")
    }
    by_pair = {pair.pair_id: pair for pair in pairs}
    for row in loaded["train"]:
        pair = by_pair[row["json"]["pair_id"]]
        made = pair.reconstruction
        assert (np.asarray(row["photo.png"]) == pair.photo.image).all()
        assert ((np.asarray(row["hand_mask.png"]) > 0) == made.masks.hand).all()
        np.testing.assert_array_equal(row["json"]["hand"]["hand_pose"], made.hand.hand_pose)
        np.testing.assert_allclose(row["hand_verts.npy"], made.hand_verts, atol=1e-7)
        assert set(row["pair.glb"].geometry) == {"hand", "object"}


def test_webdataset_reads_the_shards(root: Path, pairs: list[Record]) -> None:
    import webdataset

    by_pair = {pair.pair_id: pair.reconstruction for pair in pairs}
    shards = [str(path) for path in sorted(root.glob("*.tar"))]
    seen = []

    def depth(key: str, data: bytes) -> np.ndarray | None:  # as the card has it
        return np.array(PIL.Image.open(io.BytesIO(data))) if key.endswith("depth.png") else None

    for sample in webdataset.WebDataset(shards, shardshuffle=False).decode(depth, "pil"):
        made = by_pair[sample["json"]["pair_id"]]
        seen.append(sample["json"]["pair_id"])
        np.testing.assert_array_equal(sample["hand_joints.npy"], made.hand_joints)
        assert ((np.asarray(sample["amodal_mask.png"])[..., 0] > 0) == made.completion.amodal_mask).all()
        mesh, hand = made.object.mesh, load_hand(made.hand.side)
        z = depth_of(made.hand_verts, hand, made.object_pose.place(mesh.vertices), mesh.faces, made.camera)
        there = sample["depth.png"] * sample["json"]["depth_unit"]
        assert ((there > 0) == np.isfinite(z)).mean() > 0.999
        both = (there > 0) & np.isfinite(z)
        assert np.quantile(np.abs(there - z)[both], 0.99) <= 1e-4
    assert sorted(seen) == sorted(by_pair)


def test_table_finds_a_sample_in_its_shard(root: Path, pairs: list[Record]) -> None:
    from pyarrow import parquet

    rows = [row for path in sorted(root.glob("glb/*/metadata.parquet")) for row in parquet.read_table(path).to_pylist()]
    assert sorted(row["pair_id"] for row in rows) == sorted(pair.pair_id for pair in pairs)
    for row in rows:
        with (root / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            piece = file.read(row["size"])
        assert json.loads(tar.members_of(piece)["json"])["pair_id"] == row["pair_id"]
        assert (root / "glb" / row["split"] / row["file_name"]).is_file()
    (cup,) = (row for row in rows if row["pair_id"] == "пара-0")
    assert (cup["object_id"], cup["hand_iou"], cup["penetration_mm"]) == ("чашка", 0.5, None)


def test_trimesh_reads_the_pair_in_the_camera(root: Path, pairs: list[Record]) -> None:
    import trimesh

    ids = _by_pair(root)
    for pair in pairs:
        made = pair.reconstruction
        (path,) = root.glob(f"glb/*/{ids[pair.pair_id]}.glb")
        scene = trimesh.load_scene(path, process=False)
        hand, thing = scene.geometry["hand"], scene.geometry["object"]
        np.testing.assert_allclose(hand.vertices, made.hand_verts, atol=1e-6)
        np.testing.assert_allclose(thing.vertices, made.object_pose.place(made.object.mesh.vertices), atol=1e-6)
        assert (thing.faces == made.object.mesh.faces).all()
        assert thing.visual.material.baseColorTexture.size == made.object.mesh.texture.shape[1::-1]
        assert hand.volume > 0
        assert hand.is_watertight


def _changed(sample: dict[str, bytes], name: str, change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    return {member: change(data) if member == name else data for member, data in sample.items()}


def _json_with(path: str, value: Any) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        told = json.loads(data)
        inner = told
        *way, last = path.split(".")
        for key in way:
            inner = inner[key]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
        return json.dumps(told).encode()

    return change


def _array_with(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        out = io.BytesIO()
        np.save(out, change(np.load(io.BytesIO(data))))
        return out.getvalue()

    return changed


_FACTS = [
    *("version", "id", "split", "pair_id", "revision", "verdict", "licence", "groups", "photo.sha256", "camera.K"),
    *("camera.width", "hand.side", "hand.model", "hand.hand_pose", "hand.betas", "hand.transl", "hand.global_orient"),
    *("object.rotation", "object.transl", "object.scale", "object.kind", "touching.thumb", "depth_unit"),
]


@pytest.mark.parametrize(
    ("member", "change"),
    [
        *(("json", _json_with(path, None)) for path in _FACTS),
        ("json", _json_with("hand.transl", [0, 0, 1])),
        ("json", _json_with("camera.K", [[900, 0, 320], [0, 900, 240], [0, 0, 1]])),
        ("json", _json_with("object.scale", 1.0)),
        ("json", _json_with("hand.side", "middle")),
        ("json", lambda data: b"{"),
        ("details.txt", _json_with("metrics", None)),
        ("details.txt", _json_with("provenance", {"verdict": "reject"})),
        ("photo.png", lambda data: data[:100]),
        ("object_mask.png", lambda data: b"no picture"),
        ("depth.png", lambda data: b""),
        ("hand_verts.npy", _array_with(lambda a: a + np.float32(0.01))),
        ("hand_verts.npy", _array_with(lambda a: a.astype(np.float64))),
        ("hand_joints.npy", _array_with(lambda a: a[:20])),
        ("contact_distance.npy", _array_with(lambda a: a * np.float32(np.nan))),
        ("object.glb", lambda data: data[:-8]),
        ("pair.glb", lambda data: data.replace(b"hand", b"foot")),
    ],
)
def test_each_change_of_a_member_is_found(member: str, change: Callable[[bytes], bytes], export: Path) -> None:
    path = sorted(export.glob("*.tar"))[0]
    samples = [(sample_id, found) for sample_id, _, found in tar.samples(path)]
    sample_id, found = samples[0]
    pieces = [tar.piece(sample_id, _changed(found, member, change))]
    pieces += [tar.piece(other, members) for other, members in samples[1:]]
    path.write_bytes(b"".join(pieces) + tar.end(sum(map(len, pieces))))
    problems = get_format("canonical").check(export, manifest.read(export))
    assert any(line.startswith(f"{path.name}: {sample_id}.") for line in problems), problems


def test_missing_members_samples_and_files_are_found(export: Path) -> None:
    check = get_format("canonical").check
    content = manifest.read(export)
    path = sorted(export.glob("*.tar"))[0]
    good = path.read_bytes()
    ((sample_id, _, found), *_) = tar.samples(path)
    path.write_bytes(tar.piece(sample_id, {n: d for n, d in found.items() if n != "depth.png"}) + tar.end(0))
    problems = check(export, content)
    assert f"{path.name}: {sample_id}.depth.png: members are not those of a sample (depth.png)" in problems
    assert any("holds 1 samples, not the manifest's" in line for line in problems)
    path.write_bytes(b"no tar")
    assert any(line.startswith(f"{path.name}: cannot be read as a shard") for line in check(export, content))
    path.write_bytes(good)
    table = sorted(export.glob("glb/*/metadata.parquet"))[0]
    table.write_bytes(b"no table")
    assert any(line.startswith(f"{table.relative_to(export)}: cannot be read") for line in check(export, content))


def test_tar_members_are_nobodys_and_of_no_time(root: Path) -> None:
    with tarfile.open(sorted(root.glob("*.tar"))[0]) as archive:
        infos = archive.getmembers()
    assert {(info.uid, info.gid, info.mtime, info.uname) for info in infos} == {(0, 0, 0, "")}


def test_equal_records_give_equal_bytes(root: Path, pairs: list[Record], tmp_path: Path) -> None:
    get_format("canonical").write(reversed(pairs), tmp_path / "dataset", shard=2, pictures="png", **SPLIT)
    assert {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()} == {
        p.relative_to(tmp_path / "dataset"): p.read_bytes() for p in (tmp_path / "dataset").rglob("*") if p.is_file()
    }


def test_zero_records_and_bad_options(pairs: list[Record], tmp_path: Path) -> None:
    canonical = get_format("canonical")
    assert canonical.write([], tmp_path / "empty").count == 0
    assert verify(tmp_path / "empty") == []
    with pytest.raises(ExportError, match="at least one sample"):
        canonical.write(pairs, tmp_path / "out", shard=0)
    with pytest.raises(ExportError, match="letters, digits and _"):
        canonical.write(pairs[:1], tmp_path / "out", split="my-train=1")
