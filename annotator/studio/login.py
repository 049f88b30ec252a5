"""Whether a Label Studio takes a token, and the token of an account whose password is known."""

from __future__ import annotations

import http.cookiejar
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT_S = 20


def _opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Our own server is on this machine: a proxy from the environment would only lose the way to it."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)


def is_up(url: str) -> bool:
    """Whether something answers at /health the way Label Studio does."""
    try:
        with _opener().open(f"{url}/health", timeout=TIMEOUT_S) as answer:
            said = json.load(answer)
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("status") == "UP"


def user_of(url: str, token: str) -> str | None:
    """The e-mail address of the account a legacy token belongs to; None when it is refused. Raises OSError."""
    asked = urllib.request.Request(f"{url}/api/current-user/whoami", headers={"Authorization": f"Token {token}"})
    try:
        with _opener().open(asked, timeout=TIMEOUT_S) as answer:
            return str(_as_dict(answer).get("email", ""))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 500:
            raise
        return None


def current_token(url: str, user: str, password: str) -> str | None:
    """The legacy token the account has now; None when the password is refused. Raises OSError."""
    cookies = http.cookiejar.CookieJar()
    browser = _opener(urllib.request.HTTPCookieProcessor(cookies))
    page = f"{url}/user/login/"
    browser.open(page, timeout=TIMEOUT_S).close()
    checked = next((cookie.value for cookie in cookies if cookie.name == "csrftoken"), None) or ""
    form = urllib.parse.urlencode({"email": user, "password": password, "csrfmiddlewaretoken": checked}).encode()
    try:
        browser.open(urllib.request.Request(page, data=form, headers={"Referer": page}), timeout=TIMEOUT_S).close()
        with browser.open(f"{url}/api/current-user/token", timeout=TIMEOUT_S) as answer:
            return str(_as_dict(answer).get("token", "")) or None
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 500:
            raise
        return None


def _as_dict(answer: Any) -> dict[str, Any]:
    try:
        said = json.load(answer)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
