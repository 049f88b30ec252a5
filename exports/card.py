"""The README.md of an export: what is in it, whose it is, how to load it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from exports.base import Format
from exports.statistics import MEASURES, Figures
from exports.text import counted

_HUB_LICENCES = ("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-3.0", "cc-by-2.0")
_SIZES = (
    (1_000_000, "n>1M"),
    (100_000, "100K<n<1M"),
    (10_000, "10K<n<100K"),
    (1_000, "1K<n<10K"),
    (0, "n<1K"),
)
_HEAD = """# Hand-object pairs, format {format}

{count}, reconstructed from photographs by hoi-annotate and accepted by a reviewer or a rule.

| | |
| --- | --- |
"""

_RIGHTS = """
## Rights
The photographs keep the licences they came with (table above); `unknown` means that nobody said, and that you must
find out before you share or train on them. `source` and `licence` of every sample are in `manifest.json`. Hand models
named `open-hand` hold no MANO data. With a user's own MANO, MANO's licence applies to vertices and parameters.

"""

_CHECKING = """
## Checking
    hoi-annotate verify ROOT

`manifest.json` has a sha256 for every file and one for the whole snapshot. Splits are hashed by group (photo, subject,
object, near-duplicate), seeded, and stay when data is added.
"""


def text(format: Format, header: Mapping[str, Any], figures: Figures) -> bytes:
    """The card, from what the manifest will say and the dataset's figures."""
    samples = header["samples"]
    rows = {
        "splits": _counts(sample["split"] for sample in samples),
        "split rule": ", ".join(f"{name} {share:g}" for name, share in header["split"].items())
        + f"; seed {header['seed']}",
        "options": ", ".join(f"{name}={value}" for name, value in header["options"].items()) or "none",
        "photographs": str(len({sample["photo"] for sample in samples})),
        "hands": _counts(sample["side"] for sample in samples),
        "hand model": _counts(sample["hand_model"] for sample in samples),
        "recipe": _counts(sample["recipe"] for sample in samples),
        "licence": _counts(sample["licence"] for sample in samples),
        "source": _counts(sample["source"] for sample in samples),
        "left out": f"{len(header['skipped'])} (reasons in manifest.json)",
    }
    table = "\n".join(f"| {name} | {_cell(value)} |" for name, value in rows.items())
    head = _HEAD.format(format=header["format"], count=counted(len(samples), "pair"))
    body = head + table + "\n" + _quality(figures) + _RIGHTS + format.card(header).strip() + "\n" + _CHECKING
    return (_front(format, header) + body).encode("utf-8", "replace")


def _front(format: Format, header: Mapping[str, Any]) -> str:
    """The YAML that dataset hubs read; a JSON value is a YAML value."""
    count = len(header["samples"])
    fields = {
        "pretty_name": f"Hand-object pairs ({format.name})",
        "license": _licence({sample["licence"] for sample in header["samples"]}),
        "tags": ["hand-object-interaction", "3d", "hand-pose", "object-pose", format.name],
        "size_categories": [next(name for least, name in _SIZES if count >= least)],
        **format.front_matter(header),
    }
    return "---\n" + "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items()) + "---\n"


def _licence(names: set[str]) -> str:
    """The hub's word for it: one licence of Creative Commons, or something else."""
    (name,) = names if len(names) == 1 else ("",)
    return name.lower() if name.lower() in _HUB_LICENCES else "other"


def _quality(figures: Figures) -> str:
    rows = [
        f"| {MEASURES[name]} | {q['p25']:.3g} | {q['median']:.3g} | {q['p75']:.3g} |"
        for name, q in figures.summary().items()
    ]
    head = "\n## Quality\n| | 25 % | median | 75 % |\n| --- | --- | --- | --- |\n"
    return head + "\n".join(rows) + "\n\nMore, with plots: `statistics.html`.\n" if rows else ""


def _counts(values: Iterable[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(Counter(values).items())) or "none"


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
