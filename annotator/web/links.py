"""Addresses nobody can guess: whoever has one may look, without a login."""

from __future__ import annotations

import hashlib
import hmac
from ipaddress import ip_address
from socket import gethostname
from urllib.parse import quote

from annotator.errors import WorkspaceError
from annotator.web.secret import workspace_secret
from annotator.workspace import Workspace

TOKEN_DIGITS = 32  # hex: 128 bits
TURNTABLE = tuple(f"turntable-{frame}.jpg" for frame in range(8))  # pictures of a revision, once around it


class Links:
    """Makes and checks addresses under `base_url`; '.' makes them relative to a page at the server's root.

    One token opens all names of a revision, so its page can name its pictures by relative links.
    """

    def __init__(self, base_url: str, secret: bytes) -> None:
        self.base_url = base_url.rstrip("/")
        self._secret = secret

    @classmethod
    def of(cls, workspace: Workspace) -> Links:
        """Links as browsers and Label Studio reach the workspace's server. Raises WorkspaceError."""
        settings = workspace.settings
        base_url = settings.public_url or _address(settings.host, settings.port)
        if not base_url.startswith(("http://", "https://")):
            raise WorkspaceError(f"public_url '{base_url}' is no address: it begins with http:// or https://")
        return cls(base_url, workspace_secret(workspace.root))

    def relative(self) -> Links:
        """The same links for pages that are served at the root themselves, under whatever name."""
        return Links(".", self._secret)

    def revision(self, pair: str, number: int, name: str) -> str:
        """What `annotator.web.viewer` shows of one revision: 'photo.jpg', 'viewer', ..."""
        token = self._token("r", pair, str(number))
        return f"{self.base_url}/r/{quote(pair, safe='')}/{number}/{token}/{quote(name, safe='')}"

    def photo(self, sha256: str, name: str) -> str:
        """A photo that has no pair."""
        return f"{self.base_url}/p/{sha256}/{self._token('p', sha256)}/{quote(name, safe='')}"

    def gallery(self) -> str:
        """The gallery, with the key that lets a browser in."""
        return f"{self.base_url}/gallery?key={self._token('gallery')}"

    def ml(self) -> str:
        """Where Label Studio sends prompts."""
        return f"{self.base_url}/ml/{self._token('ml')}"

    def check_ml(self, token: str) -> bool:
        return self._check(token, "ml")

    def check_revision(self, pair: str, number: int, token: str) -> bool:
        return self._check(token, "r", pair, str(number))

    def check_photo(self, sha256: str, token: str) -> bool:
        return self._check(token, "p", sha256)

    def check_gallery(self, token: str) -> bool:
        return self._check(token, "gallery")

    def _check(self, token: str, *what: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token(*what).encode())

    def _token(self, *what: str) -> str:
        message = "\0".join(what).encode()  # what is signed never holds a NUL, so nothing else reads the same
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:TOKEN_DIGITS]


def _address(host: str, port: int) -> str:
    """Where a server that listens on `host` is found.

    One that listens on every address of a machine has none itself. Links are kept in tasks, so a guess (this
    machine's name, or the address of one of its networks) would be wrong for as long as they are: in a container,
    behind a proxy, after a move. Raises WorkspaceError.
    """
    try:
        number = ip_address(host)
    except ValueError:
        is_everywhere = not host
    else:
        is_everywhere, host = number.is_unspecified, f"[{number}]" if number.version == 6 else host
    if is_everywhere:
        raise WorkspaceError(
            f"host '{host}' listens on every address, and is none that a browser could open: set public_url in "
            f"hoi-annotate.toml or HOI_PUBLIC_URL to how others reach this machine, like http://{gethostname()}:{port}"
        )
    return f"http://{host}:{port}"
