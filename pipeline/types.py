"""What flows between the stages. Every array says its shape, dtype, unit and frame where it is declared.

Conventions (DESIGN 2): metres; OpenCV camera frame (x right, y down, z forward); pixel (0.5, 0.5) is the
centre of the first pixel; masks are bool (H, W) in the upright photo; rotations are axis-angle unless a
name says `rotation` (3x3); keypoints are in OpenPose order (wrist, thumb .. little, base to tip);
`side` is the person's: 'left' or 'right'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Side = Literal["left", "right"]
Part = Literal["thumb", "index", "middle", "ring", "little", "palm"]
PARTS: tuple[Part, ...] = get_args(Part)

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Photo:
    """An upright (EXIF-rotated) 8-bit RGB photograph, scaled down to the recipe's working size."""

    name: str  # file name, for messages
    sha256: str  # of the original bytes
    image: U8  # (H, W, 3) RGB
    focal_px: float | None = None  # from EXIF, in pixels of `image`; None when unknown

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. The camera frame is the world frame: there is no extrinsic matrix."""

    K: F64  # (3, 3) pixels; principal point in the convention that the image centre is (W/2, H/2)
    width: int
    height: int
    source: str = "prior"  # 'exif' | 'prior' | 'given' | an adapter's name

    @property
    def focal(self) -> float:
        return float(self.K[0, 0])


@dataclass(frozen=True)
class HandBox:
    """A person's help: where a hand is. Pixels of the original upright photo."""

    x0: float
    y0: float
    x1: float
    y1: float
    side: Side | None = None


@dataclass(frozen=True)
class HandHints:
    """What a person said about the hands of a photo; empty means: find them yourself."""

    boxes: tuple[HandBox, ...] = ()
    keypoints: tuple[F64, ...] = ()  # each (21, 2) pixels, OpenPose order; overrides the detector
    sides: tuple[Side | None, ...] = ()  # one per entry of `keypoints`


@dataclass(frozen=True)
class HandDetection:
    """One hand found in the photo, before any model is fitted."""

    keypoints: F64  # (21, 2) pixels
    world: F64  # (21, 3) metres, root-relative shape in camera orientation (x right, y down, z forward)
    presence: float  # 0..1, the detector's own confidence
    right_score: float  # 0..1, the detector's belief that this is a right hand; unreliable under occlusion
    side: Side | None = None  # set when a person said it, else None (the fit decides)
    source: str = "detector"  # 'detector' | 'search' | 'box' | 'keypoints'


@dataclass(frozen=True)
class Masks:
    """Visible masks of one hand and what it holds."""

    hand: Mask  # (H, W) visible hand, cut at the wrist
    object: Mask  # (H, W) visible held object
    arm: Mask  # (H, W) forearm or sleeve, neither hand nor object (may be empty)
    score: float = 1.0  # 0..1, the segmenter's confidence
    notes: tuple[str, ...] = ()  # diagnostics worth showing ("without ISNet: GrabCut foreground")


@dataclass(frozen=True)
class HandPose:
    """Parameters of a MANO-layout hand in the camera frame.

    `hand_pose` is absolute (flat_hand_mean=True): 15 joints in MANO order, axis-angle. The joints and
    vertices are `HandModel.forward(pose)`; vertices = model output + transl.
    """

    side: Side
    global_orient: F64  # (3,) axis-angle
    hand_pose: F64  # (45,) axis-angle, absolute
    betas: F64  # (10,)
    transl: F64  # (3,) metres


@dataclass(frozen=True)
class HandEstimate:
    """The hand model fitted to one detection (the estimator's answer, theta_0 of METHOD 2)."""

    pose: HandPose
    model: str  # name of the hand model, e.g. 'open-hand'
    keypoints: F64  # (21, 2) pixels, the evidence it was fitted to
    residual_px: float  # median reprojection error of the keypoints, pixels
    residual_mm: float  # median error to the detector's root-aligned world landmarks, millimetres
    score: float  # 0..1


@dataclass(frozen=True)
class Completion:
    """The object as if the hand were not there."""

    amodal_mask: Mask  # (H, W) complete silhouette in the photo
    image: U8  # (H, W, 3) RGB; equal to the photo on the visible object, filled where the hand hid it
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mesh:
    """A textured triangle mesh. uv is per vertex: (0, 0) is the texture's top-left corner (row 0)."""

    vertices: F64  # (V, 3)
    faces: I64  # (F, 3) counter-clockwise seen from outside
    uv: F64  # (V, 2) in [0, 1]; v grows downward, as image rows do
    texture: U8  # (h, w, 3) RGB


@dataclass(frozen=True)
class ViewPrior:
    """How the camera of the photo sees a reconstructed mesh, as far as the reconstructor knows.

    Up to the one unknown of a single view, the object is at `X_cam = s * (rotation @ X + transl)` for some
    s > 0; every s gives the same picture. `starts` lists further rotations worth trying when the prior
    leaves azimuth, elevation or roll open (empty: the pose is known).
    """

    rotation: F64  # (3, 3) object -> camera
    transl: F64  # (3,) in mesh units, at s = 1
    starts: F64 = field(default_factory=lambda: np.zeros((0, 3, 3)))  # (S, 3, 3)
    depth_known: float = 0.0  # 0..1: how far the extent along the viewing axis may be trusted


@dataclass(frozen=True)
class ObjectMesh:
    """A reconstructed object in its own frame, mesh units, with its view prior."""

    mesh: Mesh
    prior: ViewPrior
    kind: str  # 'revolution' | 'cuboid' | 'inflation' | an adapter's name
    scores: dict[str, float] = field(default_factory=dict)  # how well each candidate explained the view
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ObjectPose:
    """Places an object mesh in the camera frame: X_cam = scale * rotation @ X + transl."""

    rotation: F64  # (3, 3)
    transl: F64  # (3,) metres
    scale: float  # metres per mesh unit

    def place(self, vertices: F64) -> F64:
        """Mesh vertices (V, 3) -> metres in the camera frame."""
        return np.asarray(self.scale * vertices @ self.rotation.T + self.transl)


@dataclass(frozen=True)
class Edits:
    """What a reviewer changed, as hard constraints of the re-optimisation (DESIGN 7). None: untouched."""

    hand_mask: Mask | None = None
    object_mask: Mask | None = None
    contact_front: Mask | None = None
    contact_back: Mask | None = None
    keypoints: F64 | None = None  # (21, 2) pixels
    side: Side | None = None
    touching: tuple[Part, ...] = ()
    not_touching: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Contacts:
    """Where hand and object meet."""

    front: Mask  # (H, W) M_front: the hand hides the object here
    back: Mask  # (H, W) M_back: the object hides the hand here
    distance: F64  # (778,) metres, signed distance of each hand vertex to the object (negative inside)
    touching: tuple[Part, ...]  # parts whose contact zone comes within 5 mm


@dataclass(frozen=True)
class Reconstruction:
    """One hand-object pair: everything a revision stores. A pure function of photo, recipe and edits."""

    camera: Camera
    masks: Masks
    completion: Completion
    estimate: HandEstimate
    hand: HandPose
    hand_verts: F64  # (778, 3) metres, camera frame
    hand_joints: F64  # (21, 3) metres, camera frame, OpenPose order
    object: ObjectMesh
    object_pose: ObjectPose
    contacts: Contacts
    metrics: dict[str, float]  # hand_iou, object_iou, penetration_mm, intersection_cm3, displacement_cm, ...
    diagnostics: dict[str, Any]  # losses per stage, warnings, confidence, review_priority; JSON-serialisable
