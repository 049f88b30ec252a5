"""What is counted and measured, and that the page shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_pairs import make_record

from exports import statistics
from exports.base import Record, get_format
from exports.statistics_page import PICTURE, _drawn, page
from pipeline.hand_model import load_hand
from pipeline.hand_model.model import ASSETS


def _with_contact(record: Record, vertices: list[int]) -> Record:
    distance = np.full(778, 0.1)
    distance[vertices] = [0.004, -0.002, 0.006]
    made = record.reconstruction
    contacts = replace(made.contacts, distance=distance, touching=("thumb", "palm"))
    return replace(
        record, reconstruction=replace(made, contacts=contacts, metrics={"penetration_mm": 2.0, "hand_iou": np.nan})
    )


def test_figures_are_those_of_the_records() -> None:
    shares = [
        statistics.of(_with_contact(make_record(i, "left" if i == 2 else "right"), [7, 20, 30])) for i in range(3)
    ]
    figures = statistics.collect(shares)
    assert figures.count == 3
    assert figures.counted["side"] == {"right": 2, "left": 1}
    assert figures.counted["touching"] == {"thumb": 3, "palm": 3}
    assert figures.counted["reviewer"] == {"unknown": 3}
    assert figures.measured["penetration_mm"] == [2.0] * 3
    assert figures.measured["hand_iou"] == []  # not a number is not a measurement
    assert np.flatnonzero(figures.contact["right"]).tolist() == [7, 20]
    assert figures.contact["right"][[7, 20]].tolist() == [2, 2]
    assert figures.summary()["penetration_mm"] == {"n": 3, "p25": 2.0, "median": 2.0, "p75": 2.0}


def test_contact_is_counted_and_drawn_in_the_hand_model_that_numbers_the_vertices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOI_CACHE", str(tmp_path))
    record = _with_contact(make_record(0, "right"), [7, 20, 30])
    made = record.reconstruction
    own = replace(record, reconstruction=replace(made, estimate=replace(made.estimate, model="mano")))
    figures = statistics.collect([statistics.of(r) for r in (record, record, own)])
    assert {hand: touched[7] for hand, touched in figures.contact.items()} == {"right": 2, "right mano": 1}
    header = {"format": "coco", "samples": [], "skipped": []}
    shown = page(figures, header).decode()
    assert "contact, right hands (darkest: 100% of them)" in shown
    assert "hands of mano" not in shown  # it is not on this machine
    (tmp_path / "mano").mkdir()
    (tmp_path / "mano" / "MANO_RIGHT.npz").write_bytes((ASSETS / "OPEN_HAND_RIGHT.npz").read_bytes())
    assert "contact, right hands of mano (darkest: 100% of them)" in page(figures, header).decode()


def test_hands_are_drawn_as_one_sees_them() -> None:
    """Palm towards you and fingers up, the thumb of a right hand is on the right; what touches is red."""
    for side in ("right", "left"):
        model = load_hand(side)  # type: ignore[arg-type]
        heat = np.zeros(778)
        heat[model.zone_vertices("thumb")] = 1
        picture = _drawn(model, heat, palmar=True).astype(int)
        red = (picture[..., 2] - picture[..., 0]) > 60
        assert (np.nonzero(red)[1].mean() > PICTURE / 2) == (side == "right")
        seen = np.nonzero((picture < 250).any(-1))[0]
        assert 0.5 * PICTURE < np.ptp(seen) < PICTURE - 2  # the whole hand is in the picture


def test_page_and_card_of_an_export(records: list[Record], tmp_path: Path) -> None:
    odd = replace(records[0], provenance={"source": "<script>alert(1)</script>|", "licence": "unknown"})
    get_format("obman").write([odd, *records[1:]], tmp_path / "out")
    page = (tmp_path / "out" / "statistics.html").read_text()
    assert "&lt;script&gt;alert" in page
    assert "<script" not in page
    assert page.count("data:image/png;base64") == 4  # two sides, palm and back
    card = (tmp_path / "out" / "README.md").read_text()
    head, table = card.split("---\n", 2)[1:]
    assert 'license: "other"' in head
    assert 'size_categories: ["n<1K"]' in head
    assert "| hands | left 2, right 2 |" in table
    assert "| IoU of the hand with its mask | 0.9 | 0.9 | 0.9 |" in table


def test_why_pairs_are_left_out_is_said_in_full() -> None:
    why = "a left hand, and this format knows right ones only: export with --mirror-left <now>"
    header = {"format": "gsdf", "samples": [], "skipped": [["a", why], ["b", why]]}
    assert f"2 pairs: {why[:-5]}&lt;now&gt;" in page(statistics.Figures(), header).decode()


def test_a_histogram_of_few_values_ends_where_they_end() -> None:
    figures = statistics.Figures()
    figures.measured["penetration_mm"] = [0.25, 3.0, 7.5]
    shown = page(figures, {"format": "coco", "samples": [], "skipped": []}).decode()
    assert ">0.25</text>" in shown
    assert ">7.5</text>" in shown
