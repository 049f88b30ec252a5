"""Groups stay together, shares come out, nothing moves without need."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exports.base import ExportError, Record
from exports.splits import assign, groups_of, leaks, parse_split

RATIOS = {"train": 0.8, "val": 0.1, "test": 0.1}
GROUPS = st.lists(
    st.lists(
        st.sampled_from([f"{kind}:{i}" for kind in ("photo", "subject", "object_id") for i in range(8)]), min_size=1
    ),
    max_size=30,
)


@given(groups=GROUPS, seed=st.integers(0, 5))
def test_no_group_is_torn(groups: list[list[str]], seed: int) -> None:
    splits = assign(groups, RATIOS, seed)
    samples = [{"split": split, "groups": names} for split, names in zip(splits, groups, strict=True)]
    assert leaks(samples) == []


@given(groups=GROUPS, order=st.randoms())
def test_order_does_not_matter(groups: list[list[str]], order) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(range(len(groups)))
    order.shuffle(shuffled)
    splits = assign(groups, RATIOS, 0)
    again = assign([groups[i] for i in shuffled], RATIOS, 0)
    assert [splits[i] for i in shuffled] == again


def test_shares_come_out_and_stay_when_data_is_added() -> None:
    groups = [[f"photo:{i}"] for i in range(4000)]
    splits = assign(groups, RATIOS, 0)
    assert splits.count("train") / 4000 == pytest.approx(0.8, abs=0.03)
    assert splits.count("val") / 4000 == pytest.approx(0.1, abs=0.02)
    assert assign(groups[:100], RATIOS, 0) == splits[:100]
    assert assign(groups, RATIOS, 1) != splits
    assert set(assign(groups, {"train": 0, "val": 1, "test": 0}, 0)) == {"val"}


def test_new_photos_of_a_subject_join_it() -> None:
    old = [["subject:a", f"photo:{i}"] for i in range(3)]
    for i in range(50):
        assert len(set(assign([*old, ["subject:a", f"photo:new{i}"]], RATIOS, 0) + assign(old, RATIOS, 0))) == 1


def test_groups_of_a_record(records: list[Record]) -> None:
    record = records[0]
    assert groups_of(record.photo.sha256, record.provenance) == [f"photo:{record.photo.sha256}"]
    known = replace(record, provenance={"subject": "anna", "object_id": 7, "near_duplicate": ""})
    assert groups_of(known.photo.sha256, known.provenance) == [
        "subject:anna",
        "object_id:7",
        f"photo:{record.photo.sha256}",
    ]


def test_parse() -> None:
    assert parse_split("train=0.8, val=0.1,test=0.1") == RATIOS
    for text in ("", "train", "train=x", "train=0.5", "train=0.5,train=0.5", "train=1.5,val=-0.5", "train=nan", "=1"):
        with pytest.raises(ExportError):
            parse_split(text)
