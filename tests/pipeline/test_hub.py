"""Models of the hub: pulled by the hub's own client from a hub on loopback, recorded, adopted, and what is said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import COMMIT, FakeHub, serving
from typer.testing import CliRunner

from annotator.cli import app
from pipeline import hub
from pipeline.errors import MissingExtra, MissingWeights
from pipeline.hub_models import MODELS, HubModel

pytest.importorskip("huggingface_hub")
FILES = {"model.safetensors": b"weights" * 1000, "config.json": b"{}", "sub/vae.safetensors": b"vae", "old.bin": b"no"}
TINY = HubModel(
    name="tiny",
    repo="us/tiny",
    licence="MIT",
    commercial=True,
    size_gb=1e-6,
    vram_gb=0,
    improves="nothing",
    adapters=("tiny",),
    patterns=("*.json", "*.safetensors"),
)
runner = CliRunner()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setitem(MODELS, "tiny", TINY)
    return tmp_path / "cache"


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub("us/tiny", dict(FILES))) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_a_pull_records_commit_and_digests_and_needs_no_network_afterwards(far: FakeHub, cache: Path) -> None:
    assert not hub.is_present("tiny")
    assert hub.digest("tiny") == ""
    folder = hub.pull("tiny", lambda _: None)
    assert folder == cache / "hub" / "tiny" / COMMIT[:12]
    manifest = json.loads((cache / "hub" / "tiny" / "manifest.json").read_text())
    assert manifest["commit"] == COMMIT
    assert set(manifest["files"]) == {"model.safetensors", "config.json", "sub/vae.safetensors"}
    for path, kept in manifest["files"].items():
        assert kept["sha256"] == hashlib.sha256((folder / path).read_bytes()).hexdigest()
        assert (folder / path).read_bytes() == FILES[path]
    sent = list(far.served)
    assert hub.pull("tiny", lambda _: None) == hub.folder("tiny") == folder
    assert far.served == sent
    assert len(hub.digest("tiny")) == 64


def test_a_model_that_is_forgotten_can_be_fetched_again(far: FakeHub, cache: Path, tmp_path: Path) -> None:
    assert "tiny: is not here" in runner.invoke(app, ["models", "forget", "tiny"]).stderr
    folder = hub.pull("tiny", lambda _: None)
    (cache / "hub" / "tiny" / "begun").write_bytes(bytes(2_000_000))  # what an interrupted pull left
    done = runner.invoke(app, ["models", "forget", "tiny"])
    assert (done.exit_code, done.stdout) == (0, "tiny: 2.0 MB freed\n")
    assert not (cache / "hub" / "tiny").exists()
    assert hub.pull("tiny", lambda _: None) == folder
    hub.forget("tiny")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.safetensors").write_bytes(b"theirs")
    hub.adopt("tiny", tmp_path / "own")
    hub.forget("tiny")
    assert not hub.is_present("tiny")
    assert (tmp_path / "own" / "model.safetensors").exists()
    assert "no model 'nonesuch'" in runner.invoke(app, ["models", "forget", "nonesuch"]).stderr


def test_another_pin_is_another_model(far: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.pull("tiny", lambda _: None)
    monkeypatch.setitem(MODELS, "tiny", HubModel(**(vars(TINY) | {"revision": COMMIT})))
    assert hub.is_present("tiny")
    monkeypatch.setitem(MODELS, "tiny", HubModel(**(vars(TINY) | {"revision": COMMIT[::-1]})))
    assert not hub.is_present("tiny")


def test_a_pull_that_broke_off_goes_on(far: FakeHub) -> None:
    far.fails["sub/vae.safetensors"] = 403
    with pytest.raises(MissingWeights, match=r"tiny: .*run"):
        hub.pull("tiny", lambda _: None)
    assert not hub.is_present("tiny")
    assert "model.safetensors" in far.served
    far.fails.clear()
    far.served.clear()
    hub.pull("tiny", lambda _: None)
    assert far.served == ["sub/vae.safetensors"]


def test_a_damaged_file_is_not_kept(far: FakeHub) -> None:
    far.damaged.add("model.safetensors")
    with pytest.raises(MissingWeights, match=r"model\.safetensors arrived damaged"):
        hub.pull("tiny", lambda _: None)
    assert not hub.is_present("tiny")
    far.damaged.clear()
    folder = hub.pull("tiny", lambda _: None)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_gated_model_names_its_page_and_never_the_token(far: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    gated = HubModel(**(vars(TINY) | {"gated": True}))
    monkeypatch.setitem(MODELS, "tiny", gated)
    far.gated = True
    done = runner.invoke(app, ["models", "pull", "tiny"])
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line == (
        "error: tiny: accept its licence at https://huggingface.co/us/tiny, then run: "
        "HF_TOKEN=<your token> hoi-annotate models pull tiny"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    done = runner.invoke(app, ["models", "pull", "tiny"])
    assert done.exit_code == 0
    assert far.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in done.output


@pytest.mark.parametrize(
    ("name", "repo", "endpoint", "line"),
    [
        ("nowhere", "us/tiny", "http://127.0.0.1:9", "the hub is out of reach .*models adopt nowhere FOLDER"),
        ("gone", "us/other", None, "the hub has no us/other for you"),
        ("theirs", "", None, "get them from https://example.org and run: hoi-annotate models adopt theirs FOLDER"),
    ],
)
def test_what_cannot_be_pulled_says_what_to_do(
    far: FakeHub, monkeypatch: pytest.MonkeyPatch, name: str, repo: str, endpoint: str | None, line: str
) -> None:
    model = HubModel(**(vars(TINY) | {"name": name, "repo": repo, "source": "https://example.org"}))
    monkeypatch.setitem(MODELS, name, model)
    if endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(MissingWeights, match=line) as raised:
        hub.pull(name, lambda _: None)
    assert "\n" not in str(raised.value)


def test_a_disk_without_room_is_told_before_anything_is_fetched(far: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", HubModel(**(vars(TINY) | {"size_gb": 1e9})))
    with pytest.raises(MissingWeights, match=r"needs 1e\+09 GB.*set HOI_CACHE"):
        hub.pull("tiny", lambda _: None)
    assert far.served == []


def test_a_cache_that_cannot_be_written_is_one_line(far: FakeHub, cache: Path) -> None:
    cache.mkdir()
    (cache / "hub").write_text("a file where the models are to go")
    done = runner.invoke(app, ["models", "pull", "tiny"])
    assert done.exit_code == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: tiny: cannot write {cache / 'hub' / 'tiny'}: ")


def test_a_model_that_cannot_be_had_does_not_hold_up_the_others(far: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = (HubModel(**(vars(TINY) | {"name": "theirs", "repo": ""})), TINY)
    monkeypatch.setitem(MODELS, "theirs", wanted[0])
    monkeypatch.setattr("pipeline.requirements.published", lambda recipe: wanted)
    monkeypatch.setattr("pipeline.requirements.packaged", lambda recipe: [])
    done = runner.invoke(app, ["models", "pull", "cpu"])
    assert done.exit_code == 1
    assert "error: theirs: no weights" in done.stderr
    assert hub.is_present("tiny")


def test_adopted_files_stay_where_they_are(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with pytest.raises(MissingWeights, match="no folder with files"):
        hub.adopt("tiny", own)
    (own / "model.safetensors").write_bytes(b"mine")
    done = runner.invoke(app, ["models", "adopt", "tiny", str(own)])
    assert done.exit_code == 0
    assert hub.folder("tiny") == own
    first = hub.digest("tiny")
    (own / "model.safetensors").write_bytes(b"changed")
    hub.adopt("tiny", own)
    assert hub.digest("tiny") != first
    (own / "model.safetensors").unlink()
    own.rmdir()
    assert not hub.is_present("tiny")
    with pytest.raises(MissingWeights, match="tiny: no weights of us/tiny; run: hoi-annotate models pull tiny"):
        hub.folder("tiny")
    assert runner.invoke(app, ["models", "adopt", "nonesuch", str(tmp_path)]).exit_code == 1


@pytest.mark.parametrize(
    ("name", "own", "kinds"),
    [
        ("tiny", "photo.jpg", ".bin or .safetensors"),
        ("tiny", "config.json", ".bin or .safetensors"),
        ("sam2", "sam2.1_hiera_large.pt", ".bin or .safetensors"),  # the same model, in a format nothing here reads
        ("sam", "model.safetensors", ".pth"),
    ],
)
def test_files_of_another_kind_are_not_adopted(tmp_path: Path, name: str, own: str, kinds: str) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / own).write_bytes(b"mine")
    with pytest.raises(MissingWeights, match=f"own: holds no file of the kind {kinds}; {name} is the files of http"):
        hub.adopt(name, tmp_path / "own")
    assert not hub.is_present(name)


def test_a_name_that_is_neither_model_nor_recipe_is_told_where_both_are() -> None:
    done = runner.invoke(app, ["models", "pull", "nonesuch"])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert "use one of cpu, easyhoi-paper, large" in line
    assert line.endswith("'hoi-annotate models list' names the models")


def test_the_list_shows_package_and_hub_models_together() -> None:
    everything = json.loads(runner.invoke(app, ["models", "list", "--json"]).stdout)
    assert {"hand_detector", "sam2", "hamer", "mano_right"} <= {entry["name"] for entry in everything}
    assert not any(entry["present"] for entry in everything)
    of_cpu = json.loads(runner.invoke(app, ["models", "list", "cpu", "--json"]).stdout)
    assert [entry["name"] for entry in of_cpu] == ["hand_detector", "hand_landmarks", "isnet"]


def test_every_model_says_what_a_person_asks() -> None:
    for name, model in MODELS.items():
        assert name == model.name
        assert model.page.startswith("https://")
        assert model.licence
        assert model.improves
        assert model.size_gb > 0 or name == "tiny"
        assert model.adapters


def test_a_missing_library_names_the_extra() -> None:
    with pytest.raises(MissingExtra, match=r"sam2: needs nonesuch, .*pip install 'hoi-annotate\[large\]'"):
        hub.require("nonesuch", adapter="sam2", extra="large")
