"""A recipe: which adapter does each stage, with which settings and seed. Shipped ones are in recipes/*.toml.

`base = "cpu"` in a recipe takes every setting it does not have itself from another one.
"""

from __future__ import annotations

import copy
import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import HoiError

FOLDER = Path(__file__).parent / "recipes"
STAGES = ("detect", "segment", "hand", "inpaint", "reconstruct", "optimise", "assess")
ADAPTER_STAGES = ("camera", "detect", "segment", "hand", "inpaint", "reconstruct")
CAMERA = {"adapter": "exif-fov"}  # of a recipe without [camera]
# settings that say where a model is kept and how long it may take, not what it answers
WHERE_ONLY = frozenset({"offload", "vram_gb", "python", "repo", "timeout_s", "silence_s"})


class UnknownRecipe(HoiError):
    """The recipe is neither a shipped name nor a TOML file."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one way through the pipeline; `digest` changes when any of them does."""

    name: str
    settings: dict[str, Any]

    @classmethod
    def load(cls, name_or_path: str | Path, below: tuple[Path, ...] = ()) -> Recipe:
        """A shipped recipe by name, or a TOML file by path. Raises UnknownRecipe. `below`: recipes that stand on it."""
        shipped = FOLDER / f"{name_or_path}.toml"
        path = shipped if shipped.is_file() else Path(name_or_path)
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
            raise UnknownRecipe(
                f"recipe '{name_or_path}': no such recipe; use one of {known}, or the path of a .toml file"
            )
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise UnknownRecipe(f"recipe '{path}': not valid TOML ({error})") from error
        if "base" in settings:
            settings = _on_base(path, settings, below)
        missing = [stage for stage in STAGES if stage not in settings]
        if missing:
            raise UnknownRecipe(f"recipe '{path}': lacks the section [{missing[0]}]")
        return cls(name=settings.get("name", path.stem), settings=settings)

    def changed(self, assignments: Sequence[str]) -> Recipe:
        """With settings replaced, each 'section.name=value' with a TOML value. Raises UnknownRecipe."""
        settings = copy.deepcopy(self.settings)
        for assignment in assignments:
            where, _, value = assignment.partition("=")
            *path, name = where.strip().split(".")
            section = settings
            for key in path:
                section = section.get(key, {})
            if not isinstance(section, dict) or name not in section:
                raise UnknownRecipe(f"recipe '{self.name}': has no setting '{where.strip()}'")
            try:
                section[name] = tomllib.loads(f"x = {value}")["x"]
            except tomllib.TOMLDecodeError as error:
                raise UnknownRecipe(f"'{assignment}': the value is not TOML ({error})") from error
        return Recipe(self.name, settings)

    @property
    def digest(self) -> str:
        """sha256 (hex) of all settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

    @property
    def max_side(self) -> int:
        return int(self.settings.get("max_side", 1280))

    @property
    def seed(self) -> int:
        return int(self.settings.get("seed", 0))

    @property
    def fov_deg(self) -> float:
        return float(self.settings.get("fov_deg", 50.0))

    @property
    def vram_gb(self) -> float:
        """How much of a GPU's memory the models may take together; 0: all there is."""
        return float(self.settings.get("placement", {}).get("vram_gb", 0.0))

    def stage(self, name: str) -> dict[str, Any]:
        """Settings of one stage; an adapter's stand on those of [placement] (pipeline.device). A recipe that is older
        than a setting of the optimisation has the cpu recipe's."""
        section: dict[str, Any] = self.settings[name] if name != "camera" else self.settings.get(name, CAMERA)
        if name == "optimise":
            return {**_optimise_of_cpu(), **section}
        return {**self.settings.get("placement", {}), **section} if name in ADAPTER_STAGES else section

    def for_adapter(self, name: str) -> dict[str, Any]:
        """What a stage's adapter is made with: its settings, and the recipe's seed where it has none of its own."""
        return {"seed": self.seed, **self.stage(name)}

    def telling(self, name: str) -> dict[str, Any]:
        """Those settings of a stage that its result depends on: part of its cache key."""
        return {key: value for key, value in self.stage(name).items() if key not in WHERE_ONLY}


def _on_base(path: Path, settings: dict[str, Any], below: tuple[Path, ...]) -> dict[str, Any]:
    """The recipe's settings over its base's; a section with another adapter than the base's takes nothing from it.

    A base by path is beside the recipe.
    """
    base = str(settings.pop("base"))
    if path.resolve() in below:
        raise UnknownRecipe(f"recipe '{path}': stands on itself through base = '{base}'")
    shipped = (FOLDER / f"{base}.toml").is_file()
    found = Recipe.load(base if shipped else path.parent / base, (*below, path.resolve()))
    merged = found.settings | {"name": path.stem}
    for name, own in settings.items():
        under = merged.get(name)
        if isinstance(own, dict) and isinstance(under, dict) and own.get("adapter") in (None, under.get("adapter")):
            merged[name] = {**under, **own}
        else:
            merged[name] = own
    return merged


@cache
def _optimise_of_cpu() -> dict[str, Any]:
    section: dict[str, Any] = Recipe.load("cpu").settings["optimise"]
    return section
