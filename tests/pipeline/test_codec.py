import numpy as np

from pipeline import codec
from pipeline.types import Camera, Edits, HandBox, HandHints, Masks


def masks(value: bool) -> Masks:
    return Masks(hand=np.full((4, 5), value), object=np.zeros((4, 5), bool), arm=np.zeros((4, 5), bool), notes=("é",))


def test_a_dataclass_survives_the_round_trip_with_dtypes_and_nested_values() -> None:
    camera = Camera(K=np.eye(3) * 2.5, width=7, height=9, source="exif")
    back = codec.decode(Camera, codec.encode(camera))
    assert back.K.dtype == np.float64
    np.testing.assert_array_equal(back.K, camera.K)
    assert (back.width, back.height, back.source) == (7, 9, "exif")


def test_a_list_of_results_or_reasons_keeps_each_kind() -> None:
    items: list[Masks | str] = [masks(True), "holds nothing"]
    back = codec.decode(list[Masks | str], codec.encode(items))
    assert isinstance(back[0], Masks)
    assert back[0].hand.all()
    assert back[0].notes == ("é",)
    assert back[1] == "holds nothing"


def test_optional_arrays_and_tuples_of_dataclasses() -> None:
    edits = Edits(object_mask=np.ones((2, 2), bool), touching=("thumb", "palm"))
    back = codec.decode(Edits, codec.encode(edits))
    assert back.hand_mask is None
    assert back.object_mask is not None
    assert back.object_mask.dtype == bool
    assert back.touching == ("thumb", "palm")
    hints = codec.decode(HandHints, codec.encode(HandHints(boxes=(HandBox(0, 1, 2, 3, "left"),))))
    assert hints.boxes == (HandBox(0, 1, 2, 3, "left"),)


def test_equal_values_give_equal_bytes_and_any_change_another_digest() -> None:
    assert codec.encode(masks(True)) == codec.encode(masks(True))
    assert codec.digest(masks(True)) != codec.digest(masks(False))
    flat = np.zeros(6)
    assert codec.digest(flat) != codec.digest(flat.reshape(2, 3))
    assert codec.digest(flat) != codec.digest(flat.astype(np.float32))
