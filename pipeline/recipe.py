"""A recipe: which adapter does each stage, with which settings and seed. Shipped ones are in recipes/*.toml."""

from __future__ import annotations

import copy
import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import HoiError

FOLDER = Path(__file__).parent / "recipes"
STAGES = ("detect", "segment", "hand", "inpaint", "reconstruct", "optimise", "assess")


class UnknownRecipe(HoiError):
    """The recipe is neither a shipped name nor a TOML file."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one way through the pipeline; `digest` changes when any of them does."""

    name: str
    settings: dict[str, Any]

    @classmethod
    def load(cls, name_or_path: str | Path) -> Recipe:
        """A shipped recipe by name, or a TOML file by path. Raises UnknownRecipe."""
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

    def stage(self, name: str) -> dict[str, Any]:
        """Settings of one stage."""
        section: dict[str, Any] = self.settings[name]
        return section
