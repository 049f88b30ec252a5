"""Opens a place for bytes by URL, and says in one line what is wrong with it.

`file:///folder`, or `s3://bucket/prefix`. S3 takes its settings where its other tools find them: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL for a server that is not Amazon's.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from db.errors import StorageError, StorageFull, StorageUnwritable

PROBLEMS = (BaseError, OSError, ValueError)  # what obstore raises
RETRIES: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}  # 6 s of waiting in all
NO_RETRIES: Any = {"max_retries": 0}
AMAZON = "Amazon S3"
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")

_SAID_BY_S3 = {  # what is in the error, and what it means to a user
    "NoSuchBucket": "there is no such bucket at {endpoint}: make it, or correct the address",
    "InvalidBucketName": "this is no name of a bucket: correct the address",
    "InvalidAccessKeyId": "{endpoint} does not know the key: correct AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "{endpoint} refuses the key: AWS_SECRET_ACCESS_KEY is not the one of AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the key has expired: get a new one, and set AWS_SESSION_TOKEN with it",
    "InvalidToken": "{endpoint} refuses the key: correct or unset AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it",
    "AuthorizationHeaderMalformed": "the bucket is in another region: correct AWS_REGION",
    "PermanentRedirect": "the bucket is in another region: correct AWS_REGION",
    "Received redirect without LOCATION": "the bucket is in another region: correct AWS_REGION",
    "169.254.169.254": "there is no key for it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "403 Forbidden": "{endpoint} refuses the key: it must be a right one, and may read, write and list this bucket",
    "error sending request": "{endpoint} does not answer: check AWS_ENDPOINT_URL and the network",
}


def open_store(url: str, retries: Any = RETRIES) -> Any:
    """obstore's store at a URL. Raises StorageUnwritable."""
    try:
        parsed = urlparse(url)
        if parsed.scheme == "file":
            folder = Path(unquote(parsed.path))
            folder.mkdir(parents=True, exist_ok=True)
            return LocalStore(folder)
        return from_url(url) if parsed.scheme != "s3" else _open_s3(url, retries)
    except PROBLEMS as error:
        raise translate(error, url) from error


def _open_s3(url: str, retries: Any) -> Any:
    parsed, endpoint = urlparse(url), _endpoint()
    if parsed.username or parsed.password:
        raise StorageUnwritable(
            f"the address of the store at {parsed.hostname} holds a key: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY instead"
        )
    if endpoint != AMAZON and not endpoint.startswith(("http://", "https://")):  # obstore would panic at its first use
        raise StorageUnwritable(f"AWS_ENDPOINT_URL '{endpoint}' is no address: it begins with http:// or https://")
    return from_url(url, client_options={"allow_http": endpoint.startswith("http://")}, retry_config=retries)


def translate(error: Exception, url: str) -> StorageError:
    """What went wrong, without what the server said: it repeats what it was sent."""
    said = str(error)
    if "No space left" in said or "Disk quota" in said or "os error 28" in said or "os error 27" in said:
        return StorageFull(f"the disk of the store {url} is full: free some space and repeat the command")
    if url.startswith("s3://"):
        for sign, meaning in _SAID_BY_S3.items():
            if sign in said:
                return StorageUnwritable(f"cannot use the store {url}: {meaning.format(endpoint=_endpoint())}")
    return StorageUnwritable(f"cannot use the store {url}: {said.splitlines()[0] if said else type(error).__name__}")


def _endpoint() -> str:
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), AMAZON)
