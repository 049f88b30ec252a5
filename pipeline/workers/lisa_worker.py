"""Runs in LISA's environment, in its clone (dvlab-research/LISA, chat.py)."""

from __future__ import annotations

import numpy as np
from worker_base import seed_all, serve, torch_device

CONVENTIONS = {"masks": "picture size, 0 and 1"}
SIZE = 1024
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of the segmenting encoder's pixels


def load(options):
    import torch
    from model.LISA import LISAForCausalLM
    from model.llava import conversation
    from model.llava.mm_utils import tokenizer_image_token
    from model.segment_anything.utils.transforms import ResizeLongestSide
    from transformers import AutoTokenizer, CLIPImageProcessor
    from utils.utils import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN

    device = torch_device(options)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(
        options["weights"], model_max_length=512, padding_side="right", use_fast=False
    )
    tokenizer.pad_token = tokenizer.unk_token
    model = LISAForCausalLM.from_pretrained(
        options["weights"],
        low_cpu_mem_usage=True,
        torch_dtype=dtype,
        vision_tower=options.get("vision_tower", "openai/clip-vit-large-patch14"),
        seg_token_idx=tokenizer("[SEG]", add_special_tokens=False).input_ids[0],
    )
    for token in ("eos", "bos", "pad"):
        setattr(model.config, token + "_token_id", getattr(tokenizer, token + "_token_id"))
    model.get_model().initialize_vision_modules(model.get_model().config)
    model = model.to(dtype=dtype, device=device).eval()
    model.get_model().get_vision_tower().to(dtype=dtype, device=device)
    clip = CLIPImageProcessor.from_pretrained(model.config.vision_tower)
    resize = ResizeLongestSide(SIZE)

    def prompt_of(question):
        chat = conversation.conv_templates["llava_v1"].copy()
        chat.messages = []
        picture = DEFAULT_IM_START_TOKEN + DEFAULT_IMAGE_TOKEN + DEFAULT_IM_END_TOKEN
        chat.append_message(chat.roles[0], picture + "\n" + question)
        chat.append_message(chat.roles[1], "")
        return chat.get_prompt()

    def handle(what, arrays, values):
        if what != "masks":
            raise ValueError("it can only segment, not " + what)
        seed_all(int(options.get("seed", 0)))
        image = arrays["image"]
        small = resize.apply_image(image)
        pixels = torch.from_numpy(small).permute(2, 0, 1).float()
        pixels = (pixels - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
        pixels = torch.nn.functional.pad(pixels, (0, SIZE - small.shape[1], 0, SIZE - small.shape[0]))
        seen = clip.preprocess(image, return_tensors="pt")["pixel_values"].to(device, dtype)
        masks, said = [], []
        for question in values["prompts"]:
            tokens = tokenizer_image_token(prompt_of(question), tokenizer, return_tensors="pt")
            with torch.no_grad():
                words, found = model.evaluate(
                    seen,
                    pixels[None].to(device, dtype),
                    tokens[None].to(device),
                    [small.shape[:2]],
                    [image.shape[:2]],
                    max_new_tokens=512,
                    tokenizer=tokenizer,
                )
            all_found = [mask > 0 for group in found for mask in group.detach().float().cpu().numpy()]
            masks.append(np.any(all_found, axis=0) if all_found else np.zeros(image.shape[:2], bool))
            text = words[0][words[0] >= 0]
            said.append(tokenizer.decode(text, skip_special_tokens=True)[-200:])
        return {"said": said}, {"masks": np.stack(masks).astype(np.uint8)}

    return handle


if __name__ == "__main__":
    serve("lisa", CONVENTIONS, ["model.LISA", "transformers", "torch"], load)
