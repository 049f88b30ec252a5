"""--engine ray on a local cluster of two nodes, one of which is killed: the effects are those of any other engine."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fleet import FAKES, Fleet, empty, fleet, until

from annotator import on_ray
from annotator.progress import Silent
from pipeline.recipe import Recipe

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
PHOTOS = int(os.environ.get("HOI_TEST_RAY_PHOTOS", "40"))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from ray.cluster_utils import Cluster

    places = os.pathsep.join([str(FAKES), str(FAKES.parents[1])])
    fakes = {"HOI_PIPELINE": "fake_pipeline", "FAKE_SECONDS": "0.3", "FAKE_LOG": str(tmp_path / "executions")}
    for name, value in (fakes | {"FAKE_GATE": str(tmp_path / "gate"), "PYTHONPATH": places}).items():
        monkeypatch.setenv(name, value)
    quick = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000, "health_check_failure_threshold": 8}
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False, "_system_config": quick}
    )
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.postgres
def test_a_node_dies_in_the_middle(tmp_path: Path, cluster: Any, postgres_server: str) -> None:
    second = cluster.add_node(num_cpus=2)
    with fleet(tmp_path, empty(postgres_server)) as bench:
        names = [f"{'slow' if number < PHOTOS - 4 else 'slow-held'}-{number:02d}.png" for number in range(PHOTOS)]
        bench.photos(*names, "nohand.png")
        done: list[Any] = []
        run = threading.Thread(target=lambda: done.append(preannotate(bench)))
        run.start()
        until(lambda: bench.states()["done"] >= PHOTOS // 4, "it does not begin")
        cluster.remove_node(second, allow_graceful=False)
        (tmp_path / "gate").touch()  # until here some could not be done
        run.join(600)
        (result,) = done
        executions = Counter(bench.executed())
        effects = sum(bench.states().values())
        print(f"\n{PHOTOS + 1} photos, a node killed: {executions.total()} executions, {effects} effects")
        assert bench.states() == {"done": PHOTOS, "failed": 1}
        assert sorted(bench.revisions().values()) == [1] * PHOTOS
        assert (result.photos, [name for name, _ in result.failed]) == (PHOTOS + 1, ["nohand.png"])
        assert len(executions) == PHOTOS + 1
        assert preannotate(bench).photos == 0
        bench.is_complete()


def preannotate(bench: Fleet) -> Any:
    return on_ray.preannotate(bench.workspace, Recipe.load("cpu"), progress=Silent())
