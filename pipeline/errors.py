"""The one small hierarchy of errors the pipeline raises on purpose.

A message is one line a user can act on: what is wrong with which file, and what to do about it. Callers
that process a batch catch `PipelineError`, store `str(error)` as the photo's reason, and go on.
"""


class HoiError(Exception):
    """Base of every error this project raises on purpose; `str(error)` is one clear line."""


class PipelineError(HoiError):
    """A stage cannot do its work on this input."""


class UnreadablePhoto(PipelineError):
    """The file is not an image that can be decoded."""


class NoHandFound(PipelineError):
    """No hand was found in the photo."""


class NoHeldObject(PipelineError):
    """The hand holds nothing that can be segmented."""


class EmptyMask(PipelineError):
    """A mask that a stage needs has no pixels."""


class BadMesh(PipelineError):
    """A mesh is empty, not finite, or cannot be made watertight."""


class BadEdit(PipelineError):
    """An edit does not fit the pair (wrong size, unknown part, contradiction)."""


class MissingWeights(PipelineError):
    """Model weights are not in the cache; the message names the command that fetches them."""


class MissingExtra(HoiError):
    """A library that an adapter needs is not installed; the message names the command that installs it."""
