"""What is done to a record before a format sees it: no left hands, another hand model. In this order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exports.base import Record
from exports.hands import in_hand_model, require
from exports.mirror import mirrored


@dataclass(frozen=True)
class Preparation:
    """The changes an export asks for; calling it makes them. Raises ExportError when no record can be changed so."""

    mirror_left: bool = False
    hand_model: str | None = None  # None: as it was made

    def __post_init__(self) -> None:
        if self.hand_model is not None:
            require(self.hand_model)

    def __call__(self, record: Record) -> Record:
        """The record as the format shall write it. Raises UnsuitableRecord."""
        if self.mirror_left:
            record = mirrored(record)
        if self.hand_model is not None:
            record = in_hand_model(record, self.hand_model)
        return record

    def asked(self) -> dict[str, Any]:
        """For the manifest."""
        return {"mirror_left": self.mirror_left, "hand_model": self.hand_model}
