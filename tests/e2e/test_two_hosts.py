"""Two network namespaces as two machines: PostgreSQL and S3 on one, the people who annotate on the other. They share no
folder and no network but the cable between them, which the test makes, and once pulls."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from local_s3 import S3Server, s3_running
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
ROOT = Path(__file__).parents[2]
SERVER, CLIENT = "10.231.77.1", "10.231.77.2"  # nobody else's: they exist in the two namespaces only
MASK = (slice(None), slice(60, 90))


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[str, str]]:
    """Names of two namespaces with one cable between them."""
    ours = f"hoi{os.getpid()}"
    server, client = f"{ours}s", f"{ours}c"
    can = shutil.which("ip") and os.geteuid() == 0
    if not can or subprocess.run(["ip", "netns", "add", server], capture_output=True, check=False).returncode:
        pytest.skip("two hosts need network namespaces: root, and Debian's iproute2")
    with ExitStack() as stack:
        stack.callback(ip, "netns", "del", server)
        ip("netns", "add", client)
        stack.callback(ip, "netns", "del", client)
        ip("link", "add", "cable", "netns", server, "type", "veth", "peer", "name", "cable", "netns", client)
        for name, address in ((server, SERVER), (client, CLIENT)):
            ip("-n", name, "addr", "add", f"{address}/30", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield server, client


@pytest.fixture(scope="module")
def database_url(hosts: tuple[str, str]) -> Iterator[str]:
    """A PostgreSQL that listens in the first namespace."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        pytest.skip("no PostgreSQL: install Debian's postgresql")
    programs = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="hoi-postgres-"))
    os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    as_server = ["ip", "netns", "exec", hosts[0], "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def run(program: str, *arguments: str) -> None:
        command = [*as_server, str(programs / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL)

    run("initdb", "-A", "trust", "-U", "hoi", "-E", "UTF8", "--no-sync")
    with (folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {SERVER}/30 trust\n")
    options = f"-k {folder} -c listen_addresses={SERVER} -c fsync=off"
    run("pg_ctl", "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql+psycopg://hoi@{SERVER}/postgres?connect_timeout=5"
    finally:
        run("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def store(hosts: tuple[str, str]) -> Iterator[S3Server]:
    """S3 in the first namespace."""
    with s3_running(SERVER, ("ip", "netns", "exec", hosts[0])) as server:
        yield server


@dataclass
class Host:
    """A machine with a workspace folder of its own."""

    namespace: str
    folder: Path
    environment: dict[str, str]

    def start(self, *arguments: str, python: tuple[str, ...] = ("-m", "annotator")) -> subprocess.Popen[str]:
        command = ["ip", "netns", "exec", self.namespace, sys.executable, *python, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment, cwd=self.folder, text=True, **pipes)

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        written, said = process.communicate(timeout=400)
        assert process.returncode == 0, said
        return written


@pytest.fixture
def machine(hosts: tuple[str, str], database_url: str, store: S3Server, tmp_path: Path) -> Callable[[str, str], Host]:
    """machine('worker', namespace) has a folder, the addresses of database and store, and nothing else."""

    def make(name: str, namespace: str) -> Host:
        (tmp_path / name).mkdir()
        known = {name: value for name, value in os.environ.items() if not name.startswith(("HOI_", "AWS_"))}
        known |= store.environment | {
            "HOI_DATABASE_URL": database_url,
            "HOI_STORE_URL": f"s3://{store.bucket}/team",
            "HOI_PIPELINE": "fake_pipeline",
            "HOI_JOBS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/annotator")]),
        }
        host = Host(namespace, tmp_path / name, known)
        host.run("init")
        return host

    return make


FIX = """
import sys
from pathlib import Path
from annotator import service
from annotator.jobs import JobQueue
from annotator.reviewing import Change
from annotator.workspace import Workspace
workspace = Workspace(Path.cwd())
queue = JobQueue(workspace)
change = Change(masks={"object_mask": Path(sys.argv[2]).read_bytes()})
service.submit_fix(workspace, queue, sys.argv[1], change, reviewer="bo")
queue.close()
"""

WAIT = """
import sys, time
from pathlib import Path
from annotator.workspace import Workspace
from db.repositories import Jobs
workspace = Workspace(Path.cwd())
while True:
    with workspace.database.read() as session:
        counts = Jobs(session).counts()
    if counts == {"done": int(sys.argv[1])}:
        break
    time.sleep(0.2)
"""


def test_a_team_on_two_machines(hosts: tuple[str, str], machine: Callable[[str, str], Host], tmp_path: Path) -> None:
    at_server, annotating, working = machine("server", hosts[0]), machine("ann", hosts[1]), machine("work", hosts[1])
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        shades = np.random.default_rng(number).integers(0, 255, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(shades).save(photos / f"{number}.png")
    annotating.run("ingest", str(photos))
    annotating.run("preannotate")
    listed = json.loads(at_server.run("list", "--json"))  # what one machine did, the other knows
    assert [(pair["status"], pair["revision"]) for pair in listed] == [("preannotated", 1)] * 3

    drawn = np.zeros((64, 96), dtype=np.uint8)
    drawn[MASK] = 255
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    pairs = [pair["pair"] for pair in listed]

    def run(script: str, *arguments: str) -> None:
        process = at_server.start(*arguments, python=("-c", script))
        _, said = process.communicate(timeout=400)
        assert process.returncode == 0, said

    run(FIX, pairs[0], str(tmp_path / "mask.png"))
    worker = working.start("worker")
    try:
        run(WAIT, "1")
        ip("-n", hosts[1], "link", "set", "cable", "down")  # the cable is pulled, and put back
        run(FIX, pairs[1], str(tmp_path / "mask.png"))
        ip("-n", hosts[1], "link", "set", "cable", "up")
        run(WAIT, "2")
    finally:
        ip("-n", hosts[1], "link", "set", "cable", "up")
        worker.terminate()
        worker.communicate(timeout=240)

    annotating.run("backup", "kept")
    checked = json.loads(at_server.run("status", "--deep", "--json"))
    assert (checked["broken"], checked["jobs"], checked["revisions"]) == ([], {"done": 2}, 5)
    for host in (at_server, annotating, working):  # rows and bytes are in the server's house only
        assert not (host.folder / "hoi.sqlite").exists()
        assert not (host.folder / "store").exists()
    for name in ("HOI_DATABASE_URL", "HOI_STORE_URL"):
        del annotating.environment[name]
    annotating.run("restore", "kept", "alone")  # a laptop takes it home: SQLite and a folder
    home = json.loads(annotating.run("status", "--deep", "--json", "-w", "alone"))
    assert (home["broken"], home["revisions"]) == ([], 5)
    assert home["blobs"]["named"] == checked["blobs"]["named"] == 3 + 5 + 1  # photos, revisions, the mask
