"""Errors of the database and the blob store; `str(error)` is one line a user can act on."""


class StorageError(Exception):
    """Base of everything this package raises on purpose."""


class StorageFull(StorageError):
    """The disk, quota or bucket has no room left."""


class StorageUnwritable(StorageError):
    """The place exists but may not be written, or cannot be reached."""


class DatabaseBusy(StorageError):
    """Another process held the database for longer than the busy timeout."""


class SchemaOutdated(StorageError):
    """The tables are older or newer than this program."""


class BlobMissing(StorageError):
    """No blob has this digest."""


class BlobCorrupt(StorageError):
    """The stored bytes no longer have the digest they are named after."""


class NotFound(StorageError):
    """No row answers to this name."""


class RevisionConflict(StorageError):
    """The pair moved on to another revision in the meantime."""
