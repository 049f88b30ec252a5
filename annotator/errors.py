"""What can be wrong with how the program is used; `str(error)` is one line a user can act on."""

from pipeline.errors import HoiError


class WorkspaceError(HoiError):
    """There is no workspace here, it cannot be written, or it is in use."""


class BadHints(HoiError):
    """A hand box, keypoint file or sidecar does not say where a hand is."""


class BadRequest(HoiError):
    """What was asked for does not fit the state of things."""
