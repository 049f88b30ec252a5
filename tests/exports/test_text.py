"""Counts as people read them."""

from exports.text import counted


def test_one_is_not_many() -> None:
    assert [counted(count, "new revision") for count in (0, 1, 2)] == [
        "0 new revisions",
        "1 new revision",
        "2 new revisions",
    ]
