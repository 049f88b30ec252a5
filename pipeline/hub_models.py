"""The published models the adapters use: whose, under which licence, how large, and what each does better.

Sizes and memory are the makers' figures, rounded; licences are those of the weights, which may differ from the code's.
"""

from __future__ import annotations

from dataclasses import dataclass

SAFE = ("*.json", "*.txt", "*.model", "*.safetensors")  # no pickles, no second copy in another format


@dataclass(frozen=True)
class HubModel:
    """A published model, as far as one needs to know before fetching it."""

    name: str
    repo: str  # of the hub; '' for one that is not there
    licence: str
    commercial: bool | None  # whether the licence allows commercial use; None: under conditions, read it
    size_gb: float  # to download
    vram_gb: float  # of a GPU, in half precision, while it works
    improves: str  # what it does better than the cpu recipe
    adapters: tuple[str, ...]  # which use it
    revision: str = "main"  # a commit where we know one; else the pull records which it found
    patterns: tuple[str, ...] = ()  # the files that are needed; (): all
    gated: bool = False  # its licence must be accepted on its page first
    source: str = ""  # of a model that is not on the hub: where its makers give it
    libraries: tuple[str, ...] = ()  # that load it in this process; (): it has an environment of its own
    extra: str = "large"  # of ours, which brings them

    @property
    def page(self) -> str:
        """Where a person reads about it and accepts its licence."""
        return f"https://huggingface.co/{self.repo}" if self.repo else self.source


MODELS: dict[str, HubModel] = {
    model.name: model
    for model in (
        HubModel(
            name="sam",
            repo="ybelkada/segment-anything",
            licence="Apache-2.0",
            commercial=True,
            size_gb=2.6,
            vram_gb=6,
            improves="masks from boxes and points, the paper's own amodal step",
            adapters=("sam",),
            patterns=("checkpoints/sam_vit_h_4b8939.pth",),
            libraries=("torchvision", "segment_anything"),
        ),
        HubModel(
            name="sam2",
            repo="facebook/sam2.1-hiera-large",
            licence="Apache-2.0",
            commercial=True,
            size_gb=0.9,
            vram_gb=3,
            improves="sharper masks than SAM's at a third of its size",
            adapters=("sam2", "grounded-sam2"),
            patterns=SAFE,
            libraries=("transformers",),
        ),
        HubModel(
            name="sam3",
            repo="facebook/sam3",
            licence="SAM License",
            commercial=None,
            size_gb=3.5,
            vram_gb=6,
            improves="hands and held object by name, every instance",
            adapters=("sam3",),
            patterns=SAFE,
            gated=True,
            libraries=("transformers", "torchvision"),
        ),
        HubModel(
            name="grounding-dino",
            repo="IDEA-Research/grounding-dino-base",
            licence="Apache-2.0",
            commercial=True,
            size_gb=0.95,
            vram_gb=2,
            improves="boxes of hands and held objects by name",
            adapters=("grounded-sam2",),
            patterns=SAFE,
            libraries=("transformers",),
        ),
        HubModel(
            name="lisa",
            repo="xinlai/LISA-13B-llama2-v1-explanatory",
            licence="Llama 2 Community License (its language model)",
            commercial=None,
            size_gb=28,
            vram_gb=30,
            improves="the paper's masks: held object by question",
            adapters=("lisa",),
        ),
        HubModel(
            name="vitpose",
            repo="",  # those of the hub know the body's 17 keypoints and no hands
            licence="Apache-2.0",
            commercial=True,
            size_gb=3.8,
            vram_gb=5,
            improves="hand keypoints under occlusion, by the whole body",
            adapters=("vitpose",),
            source="https://github.com/ViTAE-Transformer/ViTPose (whole body, in the format of transformers)",
            libraries=("transformers",),
        ),
        HubModel(
            name="sd-inpaint",
            repo="stable-diffusion-v1-5/stable-diffusion-inpainting",
            licence="CreativeML OpenRAIL-M",
            commercial=True,
            size_gb=5.5,
            vram_gb=5,
            improves="the paper's inpainting: an object whole behind the fingers",
            revision="8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
            adapters=("sd-inpaint",),
            patterns=SAFE,
            libraries=("diffusers", "transformers", "accelerate"),
        ),
        HubModel(
            name="sdxl-inpaint",
            repo="diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
            licence="CreativeML OpenRAIL++-M",
            commercial=True,
            size_gb=7,
            vram_gb=10,
            improves="the same at 1024 pixels",
            adapters=("sdxl-inpaint",),
            patterns=("*.json", "*.txt", "*.fp16.safetensors"),
            libraries=("diffusers", "transformers", "accelerate"),
        ),
        HubModel(
            name="flux-fill",
            repo="black-forest-labs/FLUX.1-Fill-dev",
            licence="FLUX.1 [dev] Non-Commercial License",
            commercial=False,
            size_gb=34,
            vram_gb=36,
            improves="the cleanest completion of texture and lettering",
            adapters=("flux-fill",),
            patterns=("*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors", "model_index.json"),
            gated=True,
            libraries=("diffusers", "transformers", "accelerate"),
        ),
        HubModel(
            name="flux2-klein",
            repo="black-forest-labs/FLUX.2-klein-4B",
            licence="Apache-2.0",
            commercial=True,
            size_gb=16,
            vram_gb=14,
            improves="removal of the hand by instruction, in four steps",
            adapters=("flux2-klein",),
            patterns=("*/*.json", "*/*.txt", "*/*.jinja", "*/*.safetensors", "model_index.json"),
            libraries=("diffusers", "transformers", "accelerate"),
        ),
        HubModel(
            name="qwen-edit",
            repo="Qwen/Qwen-Image-Edit",
            licence="Apache-2.0",
            commercial=True,
            size_gb=58,
            vram_gb=60,
            improves="removal of the hand by instruction, under a free licence",
            adapters=("qwen-edit",),
            libraries=("diffusers", "transformers", "accelerate"),
        ),
        HubModel(
            name="lama",
            repo="",  # its authors' checkpoint needs their old libraries; this is the TorchScript export of it
            licence="Apache-2.0",
            commercial=True,
            size_gb=0.2,
            vram_gb=1,
            improves="fast texture in small holes, also on a CPU",
            adapters=("lama",),
            source="https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt",
        ),
        HubModel(
            name="moge",
            repo="Ruicheng/moge-2-vitl-normal",
            licence="MIT",
            commercial=True,
            size_gb=1.3,
            vram_gb=3,
            improves="the focal length when EXIF has none, and depth in metres",
            adapters=("moge",),
        ),
        HubModel(
            name="hamer",
            repo="",
            licence="MIT (code and weights); MANO License (the hand model: non-commercial)",
            commercial=False,
            size_gb=6,
            vram_gb=6,
            improves="the paper's hand: pose under occlusion",
            adapters=("hamer",),
            source="https://github.com/geopavlakos/hamer",
        ),
        HubModel(
            name="wilor",
            repo="",
            licence="CC-BY-NC-ND-4.0; MANO License (the hand model: non-commercial)",
            commercial=False,
            size_gb=2.6,
            vram_gb=4,
            improves="hand detection and pose in one, better than HaMeR on hands in use",
            adapters=("wilor",),
            source="https://github.com/rolpotamias/WiLoR",
        ),
        HubModel(
            name="instantmesh",
            repo="TencentARC/InstantMesh",
            licence="Apache-2.0; that of Zero123++ (which it fetches itself)",
            commercial=None,
            size_gb=8,
            vram_gb=16,
            improves="the paper's shapes: any object, also its back",
            adapters=("instantmesh",),
        ),
        HubModel(
            name="triposr",
            repo="stabilityai/TripoSR",
            licence="MIT",
            commercial=True,
            size_gb=1.7,
            vram_gb=6,
            improves="any object's shape in a second",
            adapters=("triposr",),
        ),
        HubModel(
            name="sam3d-objects",
            repo="facebook/sam-3d-objects",
            licence="SAM License",
            commercial=None,
            size_gb=13,
            vram_gb=32,
            improves="shape, pose and scale under occlusion: no inpainting needed",
            adapters=("sam3d-objects",),
            gated=True,
        ),
        HubModel(
            name="trellis2",
            repo="microsoft/TRELLIS.2-4B",
            licence="MIT; DINOv3 License (its image encoder, which it fetches itself)",
            commercial=None,
            size_gb=16,
            vram_gb=24,
            improves="the finest geometry and materials",
            revision="af44b45f2e35a493886929c6d786e563ec68364d",
            adapters=("trellis2",),
        ),
        HubModel(
            name="hunyuan3d",
            repo="tencent/Hunyuan3D-2.1",
            licence="Tencent Hunyuan 3D 2.1 Community License",
            commercial=None,
            size_gb=15,
            vram_gb=10,
            improves="detailed closed shapes",
            adapters=("hunyuan3d",),
        ),
    )
}
