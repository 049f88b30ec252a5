"""The way of every export: repetitions, options, workers, interruptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from synthetic_pairs import make_record

from exports import manifest
from exports.base import Entry, ExportError, ExportInterrupted, Record, get_format
from exports.verify import verify
from pipeline.hand_model.mano_file import mano_path

PAIRS = 44  # enough for workers to start


def some_entries(count: int = PAIRS) -> list[Entry]:
    """Entries of a few different records, as a database would give them: nothing is loaded yet."""
    return [
        Entry(f"pair-{i}", 2, f"{i:064x}", {}, partial(make_record, i % 4, pair_id=f"pair-{i}"), digest=f"{i}")
        for i in range(count)
    ]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    assert get_format("obman").write(some_entries(), out).count == PAIRS
    return out


def test_any_number_of_processes_gives_the_same_bytes(uninterrupted: Path, tmp_path: Path) -> None:
    said: list[tuple[str, str | None]] = []
    get_format("obman").write(
        some_entries(), tmp_path / "out", jobs=2, progress=lambda pair, reason: said.append((pair, reason))
    )
    assert contents(tmp_path / "out") == contents(uninterrupted)
    assert sorted(said) == sorted((f"pair-{i}", None) for i in range(PAIRS))


_EXPORT = """
import sys, time
from pathlib import Path
from test_writing import some_entries
from exports.base import get_format
done = []
def progress(pair, reason):
    done.append(pair)
    if len(done) == int(sys.argv[2]):
        print("so many are done", flush=True)
        time.sleep(600)
if __name__ == "__main__":
    get_format("obman").write(some_entries(), Path(sys.argv[1]), progress=progress)
"""


@pytest.mark.parametrize("after", [1, 25])
def test_kill_and_rerun_gives_the_bytes_of_an_uninterrupted_run(
    after: int, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = tmp_path / "export.py"
    script.write_text(_EXPORT)
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, script, out, str(after)]
    environment = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    damaged = sorted((tmp_path / ".out.partial").rglob("meta/*.pkl"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])  # as after a crash of the machine: such a sample is made again

    loaded = []
    entries = [replace(entry, load=partial(_noted, entry, loaded)) for entry in some_entries()]
    get_format("obman").write(entries, out)
    assert len(loaded) == PAIRS - after + 1
    assert contents(out) == contents(uninterrupted)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "export.py"}


def _noted(entry: Entry, loaded: list[str]) -> Record:
    loaded.append(entry.pair_id)
    return entry.load()


def test_another_content_starts_anew(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stop = 3

    def interrupt(pair: str, _: str | None) -> None:
        if pair == f"pair-{stop}":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_format("obman").write(some_entries(), out, progress=interrupt, camera="exact")
    assert len(list((tmp_path / ".out.partial" / ".journal").glob("0*.json"))) <= stop + 1
    get_format("obman").write(some_entries(), out)
    assert contents(out) == contents(uninterrupted)


@pytest.mark.parametrize(("mano", "made_anew"), [(b"one", 2), (b"other", 3)])
def test_another_mano_starts_anew(mano: bytes, made_anew: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples made with one MANO must not be mixed with those of the file that has taken its place."""
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    path = mano_path("right")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one")

    def interrupt(pair: str, _: str | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_format("obman").write(some_entries(3), tmp_path / "out", progress=interrupt)
    path.write_bytes(mano)
    loaded: list[str] = []
    entries = [replace(entry, load=partial(_noted, entry, loaded)) for entry in some_entries(3)]
    assert get_format("obman").write(entries, tmp_path / "out").count == 3
    assert len(loaded) == made_anew


def _die(number: int) -> Record:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return make_record(number)


def test_a_killed_worker_is_one_line_and_what_is_done_stays(uninterrupted: Path, tmp_path: Path) -> None:
    entries = some_entries()
    entries[3] = replace(entries[3], load=partial(_die, 0))  # among the first, which are the workers'
    done: list[str] = []
    with pytest.raises(ExportInterrupted, match="goes on from here"):
        get_format("obman").write(entries, tmp_path / "out", jobs=2, progress=lambda pair, _: done.append(pair))
    assert done
    assert len(list((tmp_path / ".out.partial" / ".journal").glob("[0-9]*.json"))) >= len(done)
    get_format("obman").write(some_entries(), tmp_path / "out", jobs=2)
    assert contents(tmp_path / "out") == contents(uninterrupted)


def test_the_parent_writes_while_the_workers_start(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = threading.Event()
    submit = ProcessPoolExecutor.submit

    def once_one_is_written(*args: Any, **options: Any) -> Any:
        assert written.wait(300), "nothing is written until the workers have started"
        return submit(*args, **options)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", once_one_is_written)
    get_format("obman").write(some_entries(), tmp_path / "out", jobs=2, progress=lambda *_: written.set())
    assert contents(tmp_path / "out") == contents(uninterrupted)


def _wait_for(_: int, out: Path) -> Record:
    (out.parent / f"{os.getpid()}.worker").touch()
    time.sleep(600)
    return make_record(0)


_STUCK = """
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from test_writing import _wait_for, some_entries
from exports.base import get_format
if __name__ == "__main__":
    out = Path(sys.argv[1])
    entries = [replace(entry, load=partial(_wait_for, i, out)) for i, entry in enumerate(some_entries())]
    get_format("obman").write(entries, out, jobs=2)
"""


def test_workers_of_a_killed_export_end(tmp_path: Path) -> None:
    script = tmp_path / "export.py"
    script.write_text(_STUCK)
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    process = subprocess.Popen([sys.executable, script, tmp_path / "out"], env={**os.environ, "PYTHONPATH": paths})
    while len(found := {int(path.stem) for path in tmp_path.glob("*.worker")}) < 3:  # the parent and two workers
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 240
    while left := [pid for pid in found - {process.pid} if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, f"processes {left} outlived their parent"
        time.sleep(0.1)


def test_a_picture_is_there_once(records: list[Record], tmp_path: Path) -> None:
    entries = [Entry.of(record) for record in records]
    again = Entry("again", 2, "f" * 64, {}, entries[0].load, same_picture="a")
    first = Entry(entries[0].pair_id, 2, entries[0].photo_sha256, {}, entries[0].load, same_picture="a")
    summary = get_format("obman").write([first, again, *entries[1:]], tmp_path / "drop")
    assert summary.skipped == [("again", f"its photo shows the same picture as that of {first.pair_id}")]
    assert summary.count == len(records)
    assert verify(tmp_path / "drop") == []

    grouped = [
        Entry(e.pair_id, 2, e.photo_sha256, {"near_duplicate": "a"}, e.load, same_picture="a") for e in (first, again)
    ]
    summary = get_format("obman").write(grouped, tmp_path / "keep", duplicates="keep", split="train=0.5,val=0.5")
    assert summary.count == 2
    assert len({sample["split"] for sample in manifest.read(tmp_path / "keep")["samples"]}) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"camera": "pinhole"}, r"camera 'pinhole': is none of refit, exact"),
        ({"lens": "wide"}, r"'lens' is no option of format obman; its options: camera"),
        ({"split": "train=0.5,dev=0.5"}, r"readers of obman know train, val, test, not dev"),
        ({"duplicates": "maybe"}, r"neither drop nor keep"),
    ],
)
def test_wrong_settings_are_one_line_and_write_nothing(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=said):
        get_format("obman").write(some_entries(1), tmp_path / "out", **settings)
    assert list(tmp_path.iterdir()) == []


def test_disk_full_in_a_worker_is_one_line(tmp_path: Path) -> None:
    entries = some_entries()
    entries[7] = Entry("pair-7", 2, "7" * 64, {}, partial(_full, 7), digest="7")
    with pytest.raises(ExportError, match=r"cannot be written .*No space left.*; nothing was changed"):
        get_format("obman").write(entries, tmp_path / "out", jobs=2)
    assert list(tmp_path.iterdir()) == []


def _full(_: int) -> Record:
    raise OSError(28, "No space left on device")


def test_a_process_that_writes_starts_without_torch_and_the_database() -> None:
    code = (
        "import sys, annotator.stored, exports.writing, exports.verify\n"
        "from exports.base import BUILT_IN, get_format\n"
        "assert all(map(get_format, BUILT_IN))\n"
        "print(sorted({'torch', 'sqlalchemy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, capture_output=True)
    assert ran.stdout.decode().strip() == "[]"
