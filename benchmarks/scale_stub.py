"""A pipeline that takes STUB_SECONDS and finds nothing, for scale_jobs.py."""

import os
import time
from typing import NoReturn

from pipeline.errors import NoHandFound
from pipeline.types import Photo


def annotate_photo(photo: Photo, *_: object) -> NoReturn:
    time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
    raise NoHandFound(f"{photo.name}: a stub finds no hand")
