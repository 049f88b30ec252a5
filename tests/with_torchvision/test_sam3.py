"""SAM 3, which transformers has only with torchvision, and the pictures as its own processors make them."""

from __future__ import annotations

from pathlib import Path

import held_can
import numpy as np
import pytest

from pipeline import device, hub
from pipeline.adapters import load_adapter
from pipeline.segment import sam2, sam3
from pipeline.segment.square import into_square, square
from pipeline.types import Masks

PHOTO, HAND = held_can.photo(), held_can.detection()


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torchvision", reason="needs torchvision: run .ci/torchvision-tests", exc_type=ImportError)
    import torch
    from transformers import CLIPTextConfig, CLIPTokenizer, Sam3Config, Sam3Model

    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=32)
    small = {"hidden_size": 32, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 112,
                "pretrain_image_size": 56,
                "patch_size": 14,
                "window_size": 4,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config=CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=32,
            projection_dim=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
        ).to_dict(),
        geometry_encoder_config=small,
        detr_encoder_config=small,
        detr_decoder_config={**small, "num_queries": 12},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    folder = tmp_path_factory.mktemp("sam3")
    torch.manual_seed(0)
    Sam3Model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_masks_of_the_photos_size_the_same_every_time(snapshot: Path) -> None:
    hub.adopt("sam3", snapshot)
    adapter = load_adapter("segment", "sam3", {"device": "cpu", "threshold": 0.0})
    (first,) = adapter.segment(PHOTO, [HAND])
    device.release()
    (again,) = adapter.segment(PHOTO, [HAND])
    assert isinstance(first, Masks)
    assert isinstance(again, Masks)
    for one, two in ((first.hand, again.hand), (first.object, again.object)):
        assert one.shape == PHOTO.size
        assert one.any()
        assert np.array_equal(one, two)
    assert not (first.hand & first.object).any()
    assert adapter.weights_digest == hub.digest("sam3")


def test_names_that_nothing_answers_to_are_one_line(snapshot: Path) -> None:
    hub.adopt("sam3", snapshot)
    answers = load_adapter("segment", "sam3", {"threshold": 1.0}).segment(PHOTO, [HAND, HAND])
    assert answers == [f"hand {i}: SAM 3 sees no hand at its keypoints" for i in (1, 2)]


@pytest.mark.parametrize(("kind", "module", "side"), [("Sam2", sam2, 1024), ("Sam3", sam3, 1008)])
def test_a_picture_is_squared_as_the_models_own_processor_does_it(kind: str, module: object, side: int) -> None:
    import transformers

    image = PHOTO.image[:300]
    theirs = getattr(transformers, f"{kind}ImageProcessor")()(image, return_tensors="pt").pixel_values
    ours = square(image, side, module.MEAN, module.STD)  # type: ignore[attr-defined]
    assert ours.shape == theirs.shape
    level = 1 / 255 / min(module.STD)  # type: ignore[attr-defined]
    assert (ours - theirs).abs().max() < 1.01 * level


def test_a_point_falls_where_the_models_own_processor_puts_it() -> None:
    from transformers import Sam2ImageProcessor, Sam2Processor

    image = PHOTO.image[:300]
    processor = Sam2Processor(Sam2ImageProcessor())
    theirs = processor(images=image, input_points=[[HAND.keypoints.tolist()]], return_tensors="pt").input_points
    assert np.allclose(into_square(HAND.keypoints, image, 1024), theirs[0, 0].numpy(), atol=1e-3)
