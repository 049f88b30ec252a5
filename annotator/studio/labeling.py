"""The labeling page: names that its config, our predictions and the reader of annotations share."""

from __future__ import annotations

from string import ascii_lowercase

from pipeline.types import PARTS

ROLES = {  # label of a mask on the page -> what a review calls it
    "hand": "hand_mask",
    "object": "object_mask",
    "contact_front": "contact_front",
    "contact_back": "contact_back",
}
FINGERS = ("thumb", "index", "middle", "ring", "little")
# OpenPose order: 1 is the base of a finger, 4 its tip
JOINTS = ("wrist", *(f"{finger} {joint}" for finger in FINGERS for joint in range(1, 5)))
FINGER_COLORS = ("#f97316", "#eab308", "#22c55e", "#06b6d4", "#a855f7")
WRIST_COLOR = "#64748b"
MEANING = (
    ("hand", "the hand where it is seen, without the arm"),
    ("object", "the held object where it is seen"),
    ("contact front", "contact where the hand hides the object"),
    ("contact back", "contact where the object hides the hand"),
)
PART_KEYS = "timglp"
# Label Studio gives a key to everything that has none, the brush's among them: these are out of the way
SPARE_KEYS = [f"ctrl+alt+shift+{letter}" for letter in ascii_lowercase]


def labeling_config() -> str:
    """Label Studio's XML for the projects we make. The colours of the masks are those of report and viewer."""
    from annotator.report.pictures import BACK, FRONT, HAND, OBJECT
    from annotator.report.templates import environment

    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in (HAND, OBJECT, FRONT, BACK)]
    of_joints = (WRIST_COLOR, *(color for color in FINGER_COLORS for _ in range(4)))
    return (
        environment()
        .get_template("labeling.xml.j2")
        .render(
            masks=[(label, color, *words) for label, color, words in zip(ROLES, colors, MEANING, strict=True)],
            hand_color=colors[0],
            object_color=colors[1],
            joints=list(zip(JOINTS, of_joints, SPARE_KEYS, strict=False)),
            point_keys=SPARE_KEYS[21:23],
            side_keys=SPARE_KEYS[23:25],
            parts=list(zip(PARTS, PART_KEYS, strict=True)),
        )
    )
