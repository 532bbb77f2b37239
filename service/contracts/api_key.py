"""API keys: what one is, and what it may do."""

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

#: Lets people and secret scanners recognise a key that lies where it should not.
PREFIX = "mck_"
_SECRET_BYTES = 32


class Scope(StrEnum):
    """READ looks, WRITE also makes, stops and deletes. ADMIN may do both, for every owner."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True)
class ApiKey:
    """A key as the record knows it: never its secret. Times are Unix s, `last_used_at` to the minute."""

    id: str
    owner: str
    scopes: frozenset[Scope]
    created_at: float
    last_used_at: float | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key may do what asks for `scope`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def new_secret() -> str:
    """256 random bits, as a client sends them."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def digest_of(secret: str) -> str:
    """What is stored in place of a secret: its sha256 in hex (docs/adr/0016-api-keys.md)."""
    return hashlib.sha256(secret.encode()).hexdigest()


def id_of(digest: str) -> str:
    """The name of a key, for lists and revocation; says nothing that helps to use it."""
    return f"key_{digest[:16]}"
