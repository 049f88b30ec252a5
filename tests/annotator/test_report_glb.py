"""pair.glb and the viewer's model, read back through trimesh."""

from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh
from report_scene import carton_mesh, pair_view

from annotator.report.glb import OPENCV_TO_GLTF, bounds, creased_normals, object_vertices, pair_glb, viewer_glb
from annotator.report.skin import CONTACT, INSIDE, SKIN, skin_colors


def read(data: bytes) -> trimesh.Scene:
    return trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)


@pytest.mark.parametrize("side", ["right", "left"])
def test_pair_glb_keeps_the_camera_frame_the_vertices_and_the_texture(side):
    pair = pair_view(side).reconstruction
    scene = read(pair_glb(pair))

    assert set(scene.graph.nodes_geometry) == {"hand", "object"}
    hand, thing = scene.geometry["hand"], scene.geometry["object"]
    np.testing.assert_allclose(hand.vertices, pair.hand_verts, atol=1e-6)
    np.testing.assert_allclose(thing.vertices, object_vertices(pair), atol=1e-6)
    np.testing.assert_array_equal(thing.faces, pair.object.mesh.faces)
    np.testing.assert_allclose(scene.graph["hand"][0], np.eye(4))

    material = thing.visual.material
    assert (material.metallicFactor, material.roughnessFactor) == (0.0, 0.8)
    np.testing.assert_array_equal(np.asarray(material.baseColorTexture.convert("RGB")), pair.object.mesh.texture)
    np.testing.assert_allclose(thing.visual.uv[:, 1], 1 - pair.object.mesh.uv[:, 1], atol=1e-6)
    assert hand.visual.material.metallicFactor == 0.0


def test_both_meshes_are_closed_and_face_outward():
    scene = read(pair_glb(pair_view("left").reconstruction))
    for mesh in scene.geometry.values():
        welded = trimesh.Trimesh(mesh.vertices, mesh.faces)
        welded.merge_vertices(merge_tex=True, merge_norm=True)
        assert welded.is_watertight
        assert welded.volume > 1e-5  # cubic metres: more than 10 cm3


def test_the_same_pair_gives_the_same_bytes():
    pair = pair_view("right").reconstruction
    assert pair_glb(pair) == pair_glb(pair)
    assert viewer_glb(pair) == viewer_glb(pair)


def test_viewer_glb_is_centred_y_up_and_small():
    pair = pair_view("right").reconstruction
    scene = read(viewer_glb(pair))
    center, radius = bounds(pair)
    np.testing.assert_allclose(scene.bounds.mean(0), 0, atol=2e-5)
    assert np.linalg.norm(scene.bounds, axis=1).max() == pytest.approx(radius, rel=0.3)
    expected = (pair.hand_verts - center) @ OPENCV_TO_GLTF.T
    np.testing.assert_allclose(scene.geometry["hand"].vertices, expected, atol=1.6e-5)  # half a step of 2^-15 m
    normals = scene.geometry["object"].vertex_normals
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-3)
    assert b"image/jpeg" in viewer_glb(pair)[:20000] + viewer_glb(pair)[-20000:]


def test_normals_are_sharp_on_a_carton_and_smooth_across_a_seam():
    carton = carton_mesh()
    assert np.abs(np.abs(creased_normals(carton.vertices, carton.faces)).max(1) - 1).max() < 1e-9

    can = trimesh.creation.cylinder(1, 2, sections=64)
    split = can.vertices[can.faces].reshape(-1, 3)  # every face has its own vertices: a seam everywhere
    normals = creased_normals(split, np.arange(len(split)).reshape(-1, 3))
    wall = np.abs(np.cross(split[1::3] - split[::3], split[2::3] - split[::3])[:, 2]) < 1e-9
    radial = split.reshape(-1, 3, 3)[wall] * [1, 1, 0]
    angle = (normals.reshape(-1, 3, 3)[wall] * radial).sum(-1)
    assert angle.min() > np.cos(np.radians(3))  # a facet alone would be off by up to 2.8 degrees on either side


def test_skin_colours_tell_contact_from_penetration():
    far, touching, inside = skin_colors(np.array([0.05, 0.0, -0.02]))
    np.testing.assert_allclose(far, SKIN)
    np.testing.assert_allclose(touching, CONTACT)
    np.testing.assert_allclose(inside, INSIDE)
