"""What coco, freihand and fiftyone take from a record in the same way: its provenance."""

from __future__ import annotations

import json
from typing import Any, cast

from exports.base import Record, UnsuitableRecord


def provenance_of(record: Record) -> dict[str, Any]:
    """The provenance as it comes back from JSON. Raises UnsuitableRecord when JSON cannot hold it."""
    try:
        return cast("dict[str, Any]", json.loads(json.dumps(record.provenance, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise UnsuitableRecord(f"provenance is not JSON-like: {error}") from error
