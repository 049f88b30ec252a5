"""What the renderer's pixels must be: coverage as alpha, colours where they belong, views from where they say."""

import numpy as np
import pytest
import trimesh

from pipeline.geometry.preview import Layer, orbit_camera, render
from pipeline.geometry.raster import coverage

SIZE = 96
K = np.array([[120.0, 0, 48], [0, 120, 48], [0, 0, 1]])


def sphere(center, radius=0.05):
    mesh = trimesh.creation.icosphere(3, radius=radius)
    return np.array(mesh.vertices) + center, np.array(mesh.faces)


def quad(z=0.3, half=0.1):
    """Facing the camera; corners in reading order: top-left, top-right, bottom-right, bottom-left."""
    corners = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])
    return corners, np.array([[0, 2, 1], [0, 3, 2]])


def test_alpha_is_the_covered_share_of_the_pixel():
    verts, faces = sphere([0, 0, 0.3])
    image = render([Layer(verts, faces)], K, SIZE, SIZE)
    assert image.shape == (SIZE, SIZE, 4)
    assert image.dtype == np.uint8
    points = verts[:, :2] / verts[:, 2:] * 120 + 48
    assert np.abs(image[..., 3] / 255 - coverage(points, faces, SIZE, SIZE, supersample=2)).max() < 0.003
    edge = (image[..., 3] > 0) & (image[..., 3] < 255)
    inside = image[..., 3] == 255
    assert image[edge][:, :3].mean() > 0.4 * image[inside][:, :3].mean()  # outlines are not darkened by the background


def test_the_nearer_layer_hides_the_farther():
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    near, far = sphere([0, 0, 0.3], 0.03), sphere([0.02, 0, 0.5])
    for layers in ([Layer(*near, red), Layer(*far, blue)], [Layer(*far, blue), Layer(*near, red)]):
        image = render(layers, K, SIZE, SIZE)
        assert image[48, 48, 0] > image[48, 48, 2]
        assert image[48, 62, 2] > image[48, 62, 0]


def test_texture_is_looked_up_per_pixel_with_row_zero_on_top():
    verts, faces = quad()
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32, :32] = 255, 0, 0  # top left
    texture[:32, 32:] = 0, 255, 0
    texture[32:, :32] = 0, 0, 255
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    image = render([Layer(verts, faces, uv=uv, texture=texture)], K, SIZE, SIZE)
    brightest = image[..., :3].argmax(-1)
    assert brightest[30, 30] == 0
    assert brightest[30, 66] == 1
    assert brightest[66, 30] == 2
    assert image[66, 66, :3].max() < 50
    assert brightest[47, 30] == 0  # the border between two texels is as sharp as the texture
    assert brightest[49, 30] == 2


def test_vertex_colors_are_interpolated():
    verts, faces = quad()
    colors = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0.0]])
    row = render([Layer(verts, faces, vertex_colors=colors)], K, SIZE, SIZE)[48, 10:86, 0].astype(float)
    assert (np.diff(row) >= -1).all()
    assert row[-1] - row[0] > 100


def test_faces_seen_from_behind_are_lit_as_from_in_front():
    verts, faces = quad()
    front = render([Layer(verts, faces)], K, SIZE, SIZE)
    back = render([Layer(verts, faces[:, ::-1])], K, SIZE, SIZE)
    assert np.array_equal(front, back)


def test_no_crease_at_uv_seams():
    verts, faces = sphere([0, 0, 0.3])
    soup = verts[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    whole, split = render([Layer(verts, faces)], K, SIZE, SIZE), render([Layer(*soup)], K, SIZE, SIZE)
    assert np.abs(whole.astype(int) - split).max() <= 1


def test_an_empty_view_is_transparent():
    verts, faces = sphere([0, 0, -0.3])
    assert not render([Layer(verts, faces)], K, SIZE, SIZE).any()


@pytest.mark.parametrize(
    ("azimuth", "elevation", "toward"),
    [(0, 0, (0, 0, -1)), (90, 0, (1, 0, 0)), (180, 0, (0, 0, 1)), (0, 90, (0, -1, 0))],
)
def test_orbit_looks_from_the_photo_the_right_and_above(azimuth, elevation, toward):
    center = np.array([0.1, -0.2, 0.6])
    _, R, t = orbit_camera(center, 0.1, azimuth, elevation, SIZE)
    viewer = -R.T @ t
    direction = (viewer - center) / np.linalg.norm(viewer - center)
    assert np.allclose(direction, toward)
    assert np.linalg.det(R) == pytest.approx(1)
    assert np.allclose(R @ center + t, [0, 0, np.linalg.norm(t + R @ center)])


def test_orbit_frames_the_ball():
    center = np.array([0.1, -0.2, 0.6])
    view = orbit_camera(center, 0.1, 30, 20, SIZE)
    alpha = render([Layer(*sphere(center, 0.1))], view[0], SIZE, SIZE, view[1], view[2])[..., 3]
    rows, columns = np.nonzero(alpha)
    assert rows.min() <= 1
    assert columns.max() >= SIZE - 2
    assert alpha[0, 0] == 0
