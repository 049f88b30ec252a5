"""The command line's contract: what goes where, exit codes, the shapes of --json, the issue's bad input."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from annotator.cli import app
from annotator.workspace import Workspace
from db.blobs import BlobStore
from db.errors import StorageFull

PhotoMaker = Callable[..., Path]


def hoi(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
    if code == 1:
        assert "Traceback" not in result.stderr
    return result


def hoi_json(*arguments: object, code: int = 0) -> Any:
    return json.loads(hoi(*arguments, "--json", code=code).stdout)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace that is the current folder."""
    hoi("init", tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_the_whole_way(tmp_path: Path, photo: PhotoMaker, inside: Path) -> None:
    photo("b.png", 2)
    photo("a.png", 1)
    photo("nohand.png", 3)
    (tmp_path / "photos" / "INDEX.json").write_text("{}")
    taken = hoi_json("ingest", tmp_path / "photos", "--licence", "CC0-1.0")
    assert taken == {"added": ["a.png", "b.png", "nohand.png"], "known": [], "hinted": [], "failed": []}

    done = hoi_json("preannotate", code=1)
    assert done["photos"] == 3
    assert len(done["published"]) == 2
    assert [failure["photo"] for failure in done["failed"]] == ["nohand.png"]
    assert (done["waiting"], done["revisions"], len(done["digest"])) == (0, 2, 64)
    assert hoi_json("preannotate")["photos"] == 0
    assert "nothing to do: 3 photos, 2 pairs" in hoi("preannotate").stdout

    assert hoi_json("status") == {
        "photos": 3,
        "pairs": 2,
        "by_status": {"preannotated": 2},
        "jobs": {},
        "failed": [{"photo": "nohand.png", "reason": "no hand found; help with --hand-box x0,y0,x1,y1[,left|right]"}],
    }
    first, second = hoi_json("list")
    assert list(first) == ["pair", "photo", "side", "status", "revision", "confidence", "metrics", "seconds"]
    assert list(first["metrics"]) == [
        "hand_iou", "object_iou", "penetration_mm", "intersection_cm3", "displacement_cm", "contact_fraction",
    ]  # fmt: skip
    assert (first["photo"], first["side"], first["status"], first["revision"]) == ("a.png", "right", "preannotated", 1)
    assert first["metrics"]["displacement_cm"] is None  # not a number in the pipeline, null for a script
    assert set(first["seconds"]) == {"detect", "refinement"}
    by_doubt = hoi_json("list", "--doubtful-first")
    assert by_doubt[0]["confidence"] <= by_doubt[1]["confidence"]

    assert hoi_json("review", "accept", first["pair"])[0]["status"] == "accepted"
    hoi("review", "reject", second["pair"][:8], "-m", "not a hand")
    assert hoi_json("status")["by_status"] == {"accepted": 1, "rejected": 1}
    assert [entry["pair"] for entry in hoi_json("list", "--status", "accepted")] == [first["pair"]]


def test_what_a_paid_service_asks_is_said_before_a_batch(
    tmp_path: Path, photo: PhotoMaker, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.reconstruct.tripo3d import Tripo3DReconstructor

    monkeypatch.setattr(Tripo3DReconstructor, "cost", lambda self, objects: f"tripo3d: {objects} objects, 60 credits")
    (inside / "paid.toml").write_text('base = "cpu"\n[reconstruct]\nadapter = "tripo3d"\n')
    photo("a.png", 1)
    photo("b.png", 2)
    hoi("ingest", tmp_path / "photos")
    said = hoi("preannotate", "--recipe", "paid.toml").stderr
    assert said.startswith("tripo3d: 2 objects, 60 credits\n")
    assert "tripo3d" not in hoi("preannotate", "--recipe", "paid.toml").stderr  # nothing waits, nothing is asked


def test_tables_are_for_people(photo: PhotoMaker, inside: Path) -> None:
    hoi("ingest", photo("mug — 杯 1.png"))
    hoi("preannotate")
    for command in (("list",), ("status",), ("models", "list"), ("models", "licences")):
        assert hoi(*command).stdout
    assert "mug — 杯 1.png" in hoi("list").stdout


def test_show_saves_what_a_pair_is_made_of(tmp_path: Path, photo: PhotoMaker, inside: Path) -> None:
    import trimesh

    hoi("ingest", photo("large.jpg", kind="JPEG", size=(2000, 1500)))
    hoi("preannotate")
    (entry,) = hoi_json("list")
    found = hoi_json("show", entry["pair"], "--save", tmp_path / "pair")
    names = ["hand.png", "object.png", "object_amodal.png", "contact_front.png", "contact_back.png"]
    assert sorted(p.name for p in (tmp_path / "pair").iterdir()) == sorted([*names, "pair.glb", "pair.json"])
    for name in names:
        mask = np.asarray(Image.open(tmp_path / "pair" / name))
        assert mask.shape == (1500, 2000)
        assert set(np.unique(mask)) <= {0, 255}
    assert np.asarray(Image.open(tmp_path / "pair" / "hand.png"))[:, :600].all()
    written = json.loads((tmp_path / "pair" / "pair.json").read_text())
    assert written["pair"] == found["pair"] == entry["pair"]
    assert (written["camera"]["width"], written["camera"]["height"]) == (2000, 1500)
    assert np.allclose(written["camera"]["K"], [[2000, 0, 1000], [0, 2000, 750], [0, 0, 1]])
    assert found["camera"]["width"] == 1280
    assert len(written["hand"]["hand_pose"]) == 45
    assert written["provenance"]["photo"] == "large.jpg"
    scene = trimesh.load(tmp_path / "pair" / "pair.glb")
    assert scene.bounds[0][2] > 0.3  # in front of an OpenCV camera, metres
    assert scene.bounds[1][2] < 1.0


def test_show_tells_a_person(photo: PhotoMaker, inside: Path) -> None:
    hoi("ingest", photo())
    hoi("preannotate")
    (entry,) = hoi_json("list")
    hoi("review", "fix", entry["pair"], "--touching", "index, palm", "-m", "look again")
    shown = hoi("show", entry["pair"]).stdout
    for words in ("right hand, revision 2, preannotated", "index, palm, thumb", "warning: made up", "look again"):
        assert words in shown
    assert "revision 1" in hoi("show", entry["pair"], "--revision", 1).stdout
    assert "no revision 9" in hoi("show", entry["pair"], "--revision", 9, code=1).stderr


def test_fix_says_what_it_did(tmp_path: Path, photo: PhotoMaker, inside: Path) -> None:
    hoi("ingest", photo())
    hoi("preannotate")
    (entry,) = hoi_json("list")
    mask = Image.new("L", (96, 64))
    mask.paste(255, (50, 10, 90, 50))
    mask.save(tmp_path / "mask.png")
    done = hoi_json("review", "fix", entry["pair"], "--object-mask", tmp_path / "mask.png")
    assert (done["before"], done["revision"], done["reused"]) == (1, 2, ["detect"])
    assert done["metrics"]["object_iou"]["after"] == pytest.approx(40 * 40 / (96 * 64))
    said = hoi("review", "fix", entry["pair"], "--touching", "ring,index").stdout
    assert "revision 3" in said
    assert "run again: refinement" in said
    assert "not achieved: ring does not touch the object" in said
    assert "change nothing" in hoi("review", "fix", entry["pair"], "--touching", "ring").stdout
    for arguments, words in [
        (["--object-mask", tmp_path / "none.png"], "none.png: cannot be read"),
        (["--touching", "toe"], "'toe' is no part"),
        ([], "needs something"),
    ]:
        assert words in hoi("review", "fix", entry["pair"], *arguments, code=1).stderr
    hoi("review", "fix", entry["pair"], "--side", "middle", code=2)
    said = hoi("review", "accept", entry["pair"], "--revision", "1").stdout
    assert "the pair is preannotated: its newest revision decides that" in said
    assert hoi("review", "accept", entry["pair"]).stdout.endswith("the pair is accepted\n")


# run


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The report has its own tests; here it is only counted."""
    import annotator.report

    written: list[Path] = []

    def write_report(pairs: Any, out: Path, title: str) -> None:
        written.append(out)
        out.write_text(f"{title}: {[pair.pair_id for pair in pairs]}")

    def write_contact_sheet(pairs: Any, out: Path, failed: Any) -> None:
        out.write_text(f"{[pair.pair_id for pair in pairs]} {failed}")

    monkeypatch.setattr(annotator.report, "write_report", write_report)
    monkeypatch.setattr(annotator.report, "write_contact_sheet", write_contact_sheet)
    return written


def test_run_goes_the_whole_way_and_a_rerun_does_nothing(
    tmp_path: Path, photo: PhotoMaker, no_report: list[Path]
) -> None:
    photo("a.png", 1)
    photo("nohand.png", 2)
    out = tmp_path / "out with space"
    first = hoi("run", tmp_path / "photos", "-o", out, code=1)
    assert "failed: nohand.png: no hand found" in first.stderr
    assert str(out / "report.html") in first.stdout
    digest = first.stdout.splitlines()[-1]
    assert digest.startswith("digest of all 1 revision: ")
    assert "('nohand.png', 'no hand found" in (out / "contact_sheet.png").read_text()

    again = hoi("run", tmp_path / "photos", "-o", out)
    assert again.stdout.splitlines() == ["nothing to do: 2 photos, 1 pair, 1 photo without a pair", digest]
    assert len(no_report) == 1
    photo("c.png", 3)
    assert hoi_json("run", tmp_path / "photos", "-o", out)["revisions"] == 2
    assert len(no_report) == 2


def test_a_box_on_the_command_line_finds_the_hand(tmp_path: Path, photo: PhotoMaker, no_report: list[Path]) -> None:
    path = photo("nohand.png")
    hoi("run", path, "-o", tmp_path / "out", code=1)
    hoi("run", path, "-o", tmp_path / "out", "--hand-box", "10,10,50,50,left")
    (entry,) = hoi_json("list", "-w", tmp_path / "out")
    assert entry["side"] == "left"


def test_keypoints_from_a_file(tmp_path: Path, photo: PhotoMaker, no_report: list[Path]) -> None:
    points = tmp_path / "points.txt"
    points.write_text("\n".join(f"{x} {x + 1}" for x in range(21)))
    hoi("run", photo("nohand.png"), "-o", tmp_path / "out", "--keypoints", points)
    points.write_text("1 2")
    assert "21 pairs" in hoi("run", photo("b.png", 2), "-o", tmp_path / "out", "--keypoints", points, code=1).stderr


def test_a_run_where_nothing_is_found_still_says_so(tmp_path: Path, photo: PhotoMaker, no_report: list[Path]) -> None:
    said = hoi("run", tmp_path / "nothing.jpg", tmp_path / "*.tif", "-o", tmp_path / "out", code=1)
    assert "nothing.jpg: no such file or folder; " in said.stderr
    assert "*.tif: no picture is named like this" in said.stderr
    assert not (tmp_path / "out").exists()
    said = hoi("run", tmp_path / "nothing.jpg", photo("nohand.png"), "-o", tmp_path / "out", code=1)
    assert "failed: nothing.jpg" in said.stderr.replace(f"{tmp_path}/", "")


# bad input: one clear line, exit code 1, the rest done, nothing half-written


def bad(tmp_path: Path, name: str) -> Path:
    """One of the issue's kinds of bad input."""
    path = tmp_path / "photos" / name
    picture = Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 20).convert("RGB")
    if name == "text.jpg":
        path.write_text("this is not a picture")
    elif name == "truncated.jpg":
        picture.resize((960, 640)).save(path)
        path.write_bytes(path.read_bytes()[:-3000])
    elif name == "phone.heic":
        path.write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(99))
    elif name == "empty.png":
        path.write_bytes(b"")
    else:
        picture.save(path)
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text.jpg", "not an image"),
        ("truncated.jpg", "truncated or damaged"),
        ("phone.heic", "pip install pillow-heif"),
        ("empty.png", "the file is empty"),
        ("nohand.png", "no hand found"),
        ("noobject.png", "the hand holds nothing"),
        ("bug.png", "internal error"),
    ],
)
def test_bad_input_is_one_line_and_the_rest_is_done(
    tmp_path: Path,
    photo: PhotoMaker,
    no_report: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    words: str,
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    photo("good.png")
    bad(tmp_path, name)
    said = hoi("run", tmp_path / "photos", "-o", tmp_path / "out", code=1).stderr
    lines = [line for line in said.splitlines() if name in line]
    assert len(lines) == 1
    assert f"failed: {name}: " in lines[0]
    assert words in lines[0]
    found = hoi_json("status", "-w", tmp_path / "out")
    assert found["pairs"] == 1
    assert [failure["photo"] for failure in found["failed"]] == [name]
    assert words in found["failed"][0]["reason"]


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGBA", "I;16", "P"])
def test_odd_but_readable_photos_give_pairs(tmp_path: Path, no_report: list[Path], mode: str) -> None:
    path = tmp_path / "odd.tif"
    if mode == "I;16":
        Image.fromarray(np.arange(96 * 64, dtype=np.uint16).reshape(64, 96) * 10).save(path)
    else:
        Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 20).convert("RGB").convert(mode).save(path)
    hoi("run", path, "-o", tmp_path / "out")
    assert hoi_json("status", "-w", tmp_path / "out")["pairs"] == 1


def test_six_hands_give_a_pair_for_each_that_holds_something(
    tmp_path: Path, photo: PhotoMaker, no_report: list[Path]
) -> None:
    hoi("run", photo("six.png"), "-o", tmp_path / "out")
    entries = hoi_json("list", "-w", tmp_path / "out")
    assert len({entry["pair"] for entry in entries}) == 5
    assert "six.png: hand 5 holds nothing" in hoi("status", "-w", tmp_path / "out").stdout


def test_the_same_bytes_twice_make_one_pair(tmp_path: Path, photo: PhotoMaker, no_report: list[Path]) -> None:
    photo("a.png")
    photo("b.png")
    hoi("run", tmp_path / "photos", "-o", tmp_path / "out")
    found = hoi_json("status", "-w", tmp_path / "out")
    assert (found["photos"], found["pairs"]) == (1, 1)


@pytest.mark.parametrize(
    "name", ["naïve 杯.png", "-dash.png", 'it\'s "quoted".png', "100%.png", "a\nb.png", "é" * 80 + ".png"]
)
def test_names_of_every_kind(tmp_path: Path, photo: PhotoMaker, no_report: list[Path], name: str) -> None:
    hoi("run", "-o", tmp_path / "out", "--", photo(name))
    (entry,) = hoi_json("list", "-w", tmp_path / "out")
    assert entry["photo"] == name


def test_a_name_that_is_no_utf8_is_taken(tmp_path: Path, photo: PhotoMaker, no_report: list[Path]) -> None:
    import os

    path = os.fsdecode(os.fsencode(tmp_path) + b"/photos/caf\xe9.png")
    photo("cup.png").rename(path)
    hoi("run", tmp_path / "photos", "-o", tmp_path / "out")
    assert hoi_json("list", "-w", tmp_path / "out")[0]["photo"] == "caf\ufffd.png"


def test_a_workspace_that_cannot_be_written_is_one_line(tmp_path: Path, photo: PhotoMaker) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "out", "/proc/out"):
        said = hoi("run", photo(), "-o", place, code=1)
        assert said.stderr.startswith("error: cannot write the workspace")
        assert len(said.stderr.splitlines()) == 1


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(
    tmp_path: Path, photo: PhotoMaker, no_report: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("a.png", 1)
    photo("b.png", 2)
    put, room = BlobStore.put, [3]  # two photos and one reconstruction

    def full(store: BlobStore, data: bytes) -> str:
        room[0] -= 1
        if room[0] < 0:
            raise StorageFull("the disk of the store is full: free some space and repeat the command")
        return put(store, data)

    with monkeypatch.context() as patch:
        patch.setattr(BlobStore, "put", full)
        said = hoi("run", tmp_path / "photos", "-o", tmp_path / "out", code=1)
    assert said.stderr.splitlines()[-1].startswith("error: the disk of the store is full")
    found = hoi_json("status", "-w", tmp_path / "out")
    assert (found["photos"], found["pairs"], found["failed"]) == (2, 1, [])
    hoi("run", tmp_path / "photos", "-o", tmp_path / "out")
    assert hoi_json("status", "-w", tmp_path / "out")["pairs"] == 2


def test_a_full_disk_in_a_stage_fails_no_photo(tmp_path: Path, photo: PhotoMaker, inside: Path) -> None:
    hoi("ingest", photo("full.png"))
    said = hoi("preannotate", code=1).stderr
    assert said.splitlines()[-1] == "error: cannot write /cache/ab/cd: No space left on device"
    assert hoi_json("status")["failed"] == []


def test_a_second_process_on_the_same_workspace_is_told(photo: PhotoMaker, inside: Path) -> None:
    from annotator.workspace import Workspace

    hoi("ingest", photo())
    with Workspace.find(inside).claimed("preannotate"):
        said = hoi("preannotate", code=1).stderr
        assert "in use by process" in said
        assert hoi_json("status")["photos"] == 1  # looking is always possible
    hoi("preannotate")


# usage


def test_without_a_workspace_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["status"], ["list"], ["preannotate"], ["ingest", "x.jpg"]):
        assert "hoi-annotate init" in hoi(*command, code=1).stderr
    assert "is not a workspace" in hoi("status", "-w", tmp_path, code=1).stderr


def test_a_subfolder_of_a_workspace_is_in_it(photo: PhotoMaker, inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inside / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(inside / "deep" / "er")
    assert hoi_json("status")["photos"] == 0
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOI_WORKSPACE", str(inside))
    assert hoi_json("status")["photos"] == 0


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["run"], ["preannotate", "--limit", "0"], ["list", "--status", "excellent"], ["export"], ["--nope"]],
)
def test_wrong_usage_is_2(inside: Path, arguments: list[str]) -> None:
    assert hoi(*arguments, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nonsense"], "no such pair"),
        (["review", "accept", "nonsense"], "no such pair"),
        (["preannotate", "--recipe", "nonsense"], "no such recipe"),
        (["export", "-o", "x", "--format", "nonsense"], "unknown export format"),
        (["export", "-o", "x"], "no pair is accepted"),
        (["verify", "nowhere"], "is this an export?"),
    ],
)
def test_what_cannot_be_done_is_1_and_one_line(
    photo: PhotoMaker, inside: Path, arguments: list[str], words: str
) -> None:
    hoi("ingest", photo())
    result = hoi(*arguments, code=1)
    assert words in result.stderr + result.stdout


def test_the_version_names_what_runs_here() -> None:
    said = hoi("--version").stdout
    assert re.fullmatch(r"hoi-annotate \S+, Python 3\.\S+, torch \S+(, commit [0-9a-f]{7,}(-dirty)?)?\n", said)


def test_jobs_are_actors_on_ray_and_slots_in_the_queue(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from annotator import on_ray
    from annotator.annotating import Annotated

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(on_ray, "preannotate", lambda *_, **options: asked.append(options) or Annotated())
    for arguments in ([], ["--jobs", "3"]):
        hoi("preannotate", "--engine", "ray", *arguments)
    assert [options["actors"] for options in asked] == [None, 3]
    assert "hoi-annotate worker --slots N" in hoi("preannotate", "--engine", "queue", "--jobs", 3, code=2).stderr


def test_export_lists_its_formats(tmp_path: Path) -> None:
    formats = {entry["name"]: entry for entry in json.loads(hoi("export", "--format", "list", "--json").stdout)}
    assert {"obman", "canonical", "coco", "gsdf", "ho3d", "dexycb", "bop", "freihand", "fiftyone"} <= set(formats)
    assert formats["obman"]["options"]["camera"]["choices"] == ["refit", "exact"]
    shown = hoi("export", "--format", "list").stdout
    assert all(name in shown for name in formats)
    assert "--option camera=refit" in shown


def test_a_demo_of_photos_that_are_not_there_begins_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hoi("demo", "--photos", "nosuch", code=1).stderr == "error: nosuch: no such file or folder\n"
    assert list(tmp_path.iterdir()) == []


def test_every_command_has_help_with_examples(inside: Path) -> None:
    commands = ["init", "ingest", "preannotate", "run", "list", "show", "status", "report", "review accept"]
    commands += ["review reject", "review fix", "export", "verify", "models list", "models pull", "models licences"]
    commands += ["worker", "serve", "up", "backup", "restore", "gc", "evaluate", "models adopt", "models add-mano"]
    for command in [*commands, "models forget", "doctor", "db upgrade", "demo"]:
        text = hoi(*command.split(), "--help").stdout
        assert not any(twice in text for twice in ("[[", "...}...", "...]..."))  # typer brackets what it is given
        assert f"hoi-annotate {command}" in text.split("Examples:")[1]


def test_db_upgrade_brings_old_tables_up(inside: Path) -> None:
    import sqlite3

    with sqlite3.connect(inside / "hoi.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    assert "hoi-annotate db upgrade" in hoi("status", code=1).stderr
    (inside / "hoi.sqlite").unlink()
    hoi("db", "upgrade")
    assert hoi_json("status")["photos"] == 0


def test_doctor_looks_at_the_workspace(inside: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = {entry["check"]: entry["state"] for entry in json.loads(result.stdout)}
    assert found["python"] == found["database"] == found["store"] == found["torch"] == "ok"
    assert list(Workspace(inside).blobs.list()) == []


def test_doctor_tells_of_a_worker_that_runs_another_version(inside: Path) -> None:
    from annotator.jobs.heartbeat import version_here
    from db.repositories import Workers

    opened = Workspace(inside)
    with opened.database.write() as session:
        Workers(session).beat("same", "here", 1, version_here())
        Workers(session).beat("other", "there", 2, "hoi-annotate 0.0.1, jobs 1, torch 1.0")
    opened.close()
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    said = {(e["check"], e["state"]): e["said"] for e in found if e["check"].startswith("worker ")}
    assert set(said) == {("worker same", "ok"), ("worker other", "ok"), ("worker other", "note")}
    assert f"runs hoi-annotate 0.0.1, jobs 1, torch 1.0, this machine {version_here()}" in said["worker other", "note"]


def test_doctor_tells_of_what_a_lost_worker_had_begun(inside: Path) -> None:
    from annotator.jobs import JobQueue
    from annotator.jobs.heartbeat import version_here
    from db.repositories import Chunks, Workers
    from pipeline.recipe import Recipe

    opened = Workspace(inside)
    queue = JobQueue(opened)
    with opened.database.write() as session:
        for worker in ("lives", "lost"):
            Workers(session).beat(worker, "here", 1, version_here())
            chunk = queue.add_chunk(session, Recipe.load("cpu"), "preannotate", [])
            Chunks(session).begin(chunk.id, worker)
        Workers(session).leave("lost")
    queue.close()
    opened.close()
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    said = {entry["check"]: (entry["state"], entry["said"]) for entry in found}
    assert said["stuck"] == (
        "note",
        "begun by workers that are gone: chunk 2 of 0 photos, lost; any worker takes them up",
    )
    assert said["worker lives"][1].endswith(": chunk 1 of 0 photos")


def test_doctor_and_db_upgrade_see_to_work_of_another_version(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from annotator.jobs import JobQueue
    from pipeline.recipe import Recipe

    opened = Workspace(inside)
    queue = JobQueue(opened)
    with monkeypatch.context() as patch, opened.database.write() as session:
        patch.setattr("annotator.jobs.queue.VERSION", "0")
        queue.add_chunk(session, Recipe.load("cpu"), "preannotate", [])
    queue.close()
    opened.close()

    def said() -> list[str]:
        found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
        return [entry["said"] for entry in found if entry["check"] == "queue" and entry["state"] == "note"]

    assert ["1 entry is for workers of version 0" in line for line in said()] == [True]
    assert "queued anew what waited for workers of another version: 1 in all" in hoi("db", "upgrade").stderr
    assert said() == []


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys, annotator.cli\n"
        "print([m for m in ('torch', 'numpy', 'sqlalchemy', 'cv2', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
