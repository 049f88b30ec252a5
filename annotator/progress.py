"""Who wants to be told how far the work is."""

from typing import Protocol


class Progress(Protocol):
    """Who wants to be told how far the work is."""

    def begin(self, total: int) -> None: ...

    def done(self, name: str, said: str) -> None: ...

    def failed(self, name: str, reason: str) -> None: ...


class Silent:
    """Nobody does."""

    def begin(self, total: int) -> None:
        pass

    def done(self, name: str, said: str) -> None:
        pass

    def failed(self, name: str, reason: str) -> None:
        pass
