"""API keys in the record: kept as digests, found by digest, gone at once when revoked."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from service.contracts.api_key import ApiKey, Scope, digest_of, id_of, new_secret
from service.contracts.ids import is_name
from service.store.script import AsyncStore, Command, Store

#: The last use is written once in this time (s): a poll every second must not become a write every second.
USE_NOTED_EVERY_S = 60


def use_key(secret: str) -> Command[ApiKey | None]:
    """The key with this secret, noted as used; None if there is none (any more)."""
    return Command(
        "use_key", (digest_of(secret), USE_NOTED_EVERY_S), lambda reply: _key(*reply) if reply else None
    )


@dataclass(frozen=True)
class KeyStore:
    """What operators do with keys, over a blocking client. May raise StoreUnavailable."""

    store: Store

    def create(self, owner: str, scopes: Collection[Scope]) -> tuple[str, str]:
        """A new key: its id, and its secret, which is nowhere else. Raises ValueError."""
        secret = new_secret()
        key_id = self.keep(secret, owner, scopes)
        assert key_id is not None  # nobody revoked what was drawn just now
        return key_id, secret

    def keep(self, secret: str, owner: str, scopes: Collection[Scope]) -> str | None:
        """Makes a key of a secret that somebody else drew; a repeat changes nothing.

        Its id; None for a secret whose key was revoked: that stays so.

        Raises ValueError for an owner that can be no tenant, and without scopes.
        """
        if not is_name(owner):
            raise ValueError(f"owner must be a name of letters, digits and ._+-, got {owner!r}")
        if not scopes:
            raise ValueError("scope must be one or more of read, write, admin, got none")
        digest = digest_of(secret)
        listed = ",".join(sorted(scopes))
        kept = Command("add_key", (digest, id_of(digest), owner, listed), lambda reply: reply == "kept")
        return id_of(digest) if self.store.run(kept) else None

    def listed(self) -> Sequence[ApiKey]:
        """All, in the order in which they were made."""
        command: Command[Iterable[ApiKey]] = Command(
            "keys", (), lambda reply: [_key(*each) for each in reply]
        )
        return sorted(self.store.run(command), key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str) -> bool:
        """Whether there was such a key. From now on it opens nothing."""
        return self.store.run(Command("revoke_key", (key_id,), bool))


@dataclass(frozen=True)
class KeyCheck:
    """Looks a secret up for every request: a copy kept in the process would outlive the revocation."""

    store: AsyncStore

    async def __call__(self, secret: str) -> ApiKey | None:
        return await self.store.run(use_key(secret))


def _key(record: str, used: str) -> ApiKey:
    # Newer versions may put words behind these, and scopes between, which open nothing here.
    key_id, owner, scopes, created_at, *_ = record.split(" ")
    named = frozenset(Scope(scope) for scope in scopes.split(",") if scope in Scope.__members__.values())
    return ApiKey(key_id, owner, named, float(created_at), float(used) if used else None)
