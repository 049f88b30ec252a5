"""Hashed, seeded splits in which nothing that belongs together is torn apart.

Pairs of one photo belong together, and so do pairs that share a subject, an object or a near-duplicate cluster,
where the provenance names them; the relation is transitive. A whole group goes where the hash of its name falls,
so new data moves old samples only where it ties two groups together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from exports.base import DEFAULT_SPLIT, ExportError

GROUP_KEYS = ("subject", "object_id", "near_duplicate")  # provenance keys, broadest first; "photo" comes last


def parse_split(text: str) -> dict[str, float]:
    """'train=0.8,val=0.2' -> {'train': 0.8, 'val': 0.2}. Raises ExportError unless shares are >= 0 and sum to 1."""
    ratios: dict[str, float] = {}
    for item in text.split(","):
        name, _, share = (part.strip() for part in item.partition("="))
        try:
            ratio = float(share)
        except ValueError:
            ratio = -1.0
        if not name or name in ratios or not 0 <= ratio <= 1:
            raise ExportError(f"split '{text}': '{item}' is not NAME=SHARE; write for example {DEFAULT_SPLIT}")
        ratios[name] = ratio
    if abs(sum(ratios.values()) - 1) > 1e-6:
        raise ExportError(f"split '{text}': the shares sum to {sum(ratios.values()):g}, not 1")
    return ratios


def groups_of(photo_sha256: str, provenance: Mapping[str, Any]) -> list[str]:
    """The names of all groups a record belongs to, broadest first; the photo's is always among them."""
    named = [f"{key}:{provenance[key]}" for key in GROUP_KEYS if provenance.get(key) not in (None, "")]
    return [*named, f"photo:{photo_sha256}"]


def assign(groups: Sequence[Sequence[str]], ratios: Mapping[str, float], seed: int) -> list[str]:
    """The split of each sample, given the groups each belongs to. Independent of the samples' order."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for names in groups:
        for name in names:
            a, b = sorted((root(names[0]), root(name)), key=_breadth)
            parent[b] = a  # the broadest name stands for the component: it is the least likely to change
    return [_draw(root(names[0]), ratios, seed) for names in groups]


def leaks(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for every group with samples (mappings with `split` and `groups`) in more than one split."""
    found: dict[str, set[str]] = {}
    for sample in samples:
        for name in sample["groups"]:
            found.setdefault(name, set()).add(sample["split"])
    return [
        f"{name}: is in {' and '.join(sorted(splits))}" for name, splits in sorted(found.items()) if len(splits) > 1
    ]


def _breadth(name: str) -> tuple[int, str]:
    kind = name.partition(":")[0]
    return GROUP_KEYS.index(kind) if kind in GROUP_KEYS else len(GROUP_KEYS), name


def _draw(group: str, ratios: Mapping[str, float], seed: int) -> str:
    digest = hashlib.sha256(f"{seed}\n{group}".encode("utf-8", "surrogatepass")).digest()
    value = int.from_bytes(digest[:8], "big") / 2**64
    chosen = ""
    for name, ratio in ratios.items():
        if ratio > 0:
            chosen = name
            if value < ratio:
                break
            value -= ratio
    return chosen
