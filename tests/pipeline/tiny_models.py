"""Models of the real classes with a few thousand random weights, saved as their makers' are: no network needed."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinInpaintPipeline,
    Flux2Transformer2DModel,
    FluxFillPipeline,
    FluxTransformer2DModel,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    Qwen2TokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2Model,
    Sam2VisionConfig,
    SwinConfig,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

DOWN, UP = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"


def sam2(folder: Path) -> None:
    backbone = Sam2HieraDetConfig(
        hidden_size=16,
        num_attention_heads=1,
        image_size=[128, 128],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[128, 64, 32, 16],
        fpn_hidden_size=32,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        num_feature_levels=3,
    )
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 32, "image_size": 128, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
    )
    Sam2Model(config).save_pretrained(folder)


def grounding_dino(folder: Path) -> None:
    letters = string.ascii_lowercase
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *letters, *(f"##{c}" for c in letters)]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ),
        num_queries=64,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_text_len=64,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 128})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)


def sd_inpaint(folder: Path) -> None:
    tokenizer = _clip_tokenizer()
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=16,
        in_channels=9,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    StableDiffusionInpaintPipeline(
        vae=AutoencoderKL(
            block_out_channels=[8, 16], down_block_types=DOWN, up_block_types=UP, latent_channels=4, norm_num_groups=4
        ),
        text_encoder=_clip_text(tokenizer),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def flux_fill(folder: Path) -> None:
    tokenizer, words = _clip_tokenizer(), _t5_tokenizer()
    latents, pixels = 16, 4 * 2 * 2  # the mask is given as the pixels under each patch of latents
    FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKL(
            block_out_channels=[8, 16],
            down_block_types=DOWN,
            up_block_types=UP,
            latent_channels=4,
            norm_num_groups=4,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.06,
            scaling_factor=1.5,
        ),
        text_encoder=_clip_text(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=len(words), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)
        ),
        tokenizer_2=words,
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=latents + latents + pixels,
            out_channels=latents,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
    ).save_pretrained(folder)


def flux2_klein(folder: Path) -> None:
    tokenizer = _qwen_tokenizer()
    Flux2KleinInpaintPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKLFlux2(
            block_out_channels=(8, 16),
            down_block_types=DOWN,
            up_block_types=UP,
            latent_channels=4,
            norm_num_groups=4,
            layers_per_block=1,
        ),
        text_encoder=Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=28,  # the pipeline reads layers 9, 18 and 27
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
                max_position_embeddings=512,
            )
        ),
        tokenizer=tokenizer,
        transformer=Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * 16,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        is_distilled=True,
    ).save_pretrained(folder)


def lama(folder: Path) -> None:
    """Not LaMa's network, which is in no package, but a TorchScript file that is called like its export."""

    class Fill(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = torch.nn.Conv2d(4, 3, 3, padding=1)

        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            painted = torch.sigmoid(self.convolution(torch.cat([image * (1 - mask), mask], dim=1)))
            return mask * painted + (1 - mask) * image

    folder.mkdir()
    torch.jit.script(Fill()).save(str(folder / "big-lama.pt"))


def _clip_tokenizer() -> CLIPTokenizer:
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


def _clip_text(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    last = len(tokenizer) - 1
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=last + 1,
            hidden_size=32,
            projection_dim=32,
            intermediate_size=37,
            num_hidden_layers=1,
            num_attention_heads=4,
            bos_token_id=last - 1,
            eos_token_id=last,
            pad_token_id=1,
        )
    )


def _t5_tokenizer() -> T5TokenizerFast:
    words = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_letters, ".", ","]
    return T5TokenizerFast(vocab=[(word, -float(i)) for i, word in enumerate(words)], extra_ids=0)


def _qwen_tokenizer() -> Qwen2TokenizerFast:
    from tokenizers.pre_tokenizers import ByteLevel

    words = [*sorted(ByteLevel.alphabet()), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2TokenizerFast(vocab={word: i for i, word in enumerate(words)}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": words[-2:]})
    tokenizer.chat_template = CHAT
    return tokenizer


MODELS: dict[str, Callable[[Path], None]] = {
    "sam2": sam2,
    "grounding-dino": grounding_dino,
    "sd-inpaint": sd_inpaint,
    "flux-fill": flux_fill,
    "flux2-klein": flux2_klein,
    "lama": lama,
}


@contextmanager
def fixed_weights() -> Iterator[None]:
    """The same random weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def build(name: str, parent: Path) -> Path:
    """The folder of a model as `hub.adopt` takes it."""
    folder = parent / name
    with fixed_weights():
        MODELS[name](folder)
    return folder
