"""What can go wrong with Label Studio; `str(error)` is one line a user can act on."""

from pipeline.errors import HoiError


class StudioError(HoiError):
    """Label Studio is not installed, cannot be started, or does not answer as it should."""


class Unreachable(StudioError):
    """Nothing answers there now."""


class Refused(StudioError):
    """It answers, and does not take our token."""
