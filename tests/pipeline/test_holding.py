"""Which grasps count as held: force closure on contacts that mechanics knows the answer for, and hands about a ball."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from grasp_scene import RADIUS, Scene, grasp

from pipeline.evaluate.datasets.case import Case, NotHeld, Surface
from pipeline.evaluate.holding import force_closure, is_held
from pipeline.evaluate.sample import draw, listed, usable
from pipeline.hand_model.model import OPEN_HAND
from pipeline.types import ObjectPose

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
TRIANGLE = np.array([[np.cos(a), np.sin(a), 0] for a in (0, 2 * np.pi / 3, 4 * np.pi / 3)])


def case_of(scene: Scene) -> Case:
    return Case(
        name="ball",
        photo_file=None,
        camera=scene.camera,
        side=scene.model.side,
        joints=scene.joints,
        hand=Surface(scene.verts, scene.model.faces),
        object_name="ball",
        object=Surface(scene.ball.mesh.vertices * RADIUS, scene.ball.mesh.faces),
        pose=ObjectPose(np.eye(3), scene.center, 1.0),
        hand_model=OPEN_HAND,
    )


@pytest.mark.parametrize("points", [TETRAHEDRON, TRIANGLE, TETRAHEDRON * 0.03 + 5])
def test_contacts_from_all_around_close(points: np.ndarray) -> None:
    inward = -(points - points.mean(0)) / np.linalg.norm(points - points.mean(0), axis=1, keepdims=True)
    assert force_closure(points, inward)


def test_contacts_that_leave_a_way_out_do_not() -> None:
    assert not force_closure(TRIANGLE, np.tile([0, 0, 1.0], (3, 1)))  # all push the same way
    assert not force_closure(np.array([[1.0, 0, 0], [-1, 0, 0]]), np.array([[-1.0, 0, 0], [1, 0, 0]]))  # it spins
    half = np.array([[0.0, 0, -1], [0.3, 0, -0.95], [0, 0.3, -0.95]])  # on one side of a ball, friction 1
    assert not force_closure(half, -half / np.linalg.norm(half, axis=1, keepdims=True))
    assert not force_closure(np.zeros((0, 3)), np.zeros((0, 3)))


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_ball_in_the_hand_is_held_and_one_beside_it_is_not(side: str) -> None:
    case = case_of(grasp(side))
    assert is_held(case)
    away = replace(case, pose=replace(case.pose, transl=case.pose.transl + np.array([0, 0, 0.2])))
    assert not is_held(away)


def test_a_ball_that_touches_the_back_of_the_hand_only_is_not_held() -> None:
    case = case_of(grasp("right"))
    assert case.hand is not None
    model, skin = grasp("right").model, case.hand.vertices
    dorsal = (model.skin_side == -1) & (model.part == 0)
    out = trimesh.Trimesh(skin, case.hand.faces, process=False).vertex_normals[dorsal].mean(0)
    out /= np.linalg.norm(out)
    steps = np.linspace(0, 0.15, 1501)
    gaps = [np.linalg.norm(skin - skin[dorsal].mean(0) - step * out, axis=1).min() - RADIUS for step in steps]
    center = skin[dorsal].mean(0) + steps[np.argmax(np.array(gaps) > -0.001)] * out
    assert not is_held(replace(case, pose=replace(case.pose, transl=center)))


class Grasps:
    """A data set of a hundred numbers: every third is held, every seventh has no hand."""

    loaded: list[str]

    def __init__(self) -> None:
        self.loaded = []

    def names(self, root: Path):
        yield from map(str, range(100))

    def load(self, root: Path, name: str) -> Case:
        self.loaded.append(name)
        if int(name) % 7 == 0:
            raise NotHeld(f"{name}: shows no hand")
        case = case_of(grasp("right"))
        return case if int(name) % 3 == 0 else replace(case, pose=replace(case.pose, transl=np.array([0, 0, 3.0])))

    def named(self, entry: object) -> list[str]:
        return [str(entry)]


def test_a_draw_is_seeded_takes_what_is_held_and_looks_no_further() -> None:
    data = Grasps()
    found = draw(data, Path(), 5, seed=1, held_only=True)
    assert len(found.names) == 5
    assert all(int(name) % 3 == 0 and int(name) % 7 for name in found.names)
    assert found.looked_at == len(data.loaded) < 60
    assert found.not_held == found.looked_at - 5
    assert found.listed == 100
    assert draw(Grasps(), Path(), 5, seed=1, held_only=True).names == found.names
    assert draw(Grasps(), Path(), 7, seed=1, held_only=True).names[:5] == found.names
    assert draw(Grasps(), Path(), 5, seed=2, held_only=True).names != found.names
    unread = Grasps()
    assert len(draw(unread, Path(), 50, seed=1, held_only=False).names) == 50
    assert not unread.loaded
    everything = draw(Grasps(), Path(), 500, seed=1, held_only=True)
    assert len(everything.names) == sum(n % 3 == 0 and n % 7 != 0 for n in range(100))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "# comment\n4\n\n8\n4\n"),
        ("list.csv", "img_id,img_path\n0,4\n1,8\n"),
        ("list.json", '["4", "8"]'),
    ],
)
def test_a_published_list_is_taken_as_it_is(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = listed(Grasps(), tmp_path / name)
    assert found.names == ("4", "8")
    assert name in found.rule


def test_a_listed_frame_without_a_hand_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("7\n8\n9\n")
    found = usable(listed(Grasps(), tmp_path / "list.txt"), Grasps(), Path())
    assert found.names == ("8", "9")
    assert (found.looked_at, found.not_held) == (3, 1)
