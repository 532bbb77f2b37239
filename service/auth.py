"""Who asks: every request gets an owner here, before its body is read, or is refused."""

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access import reaching_record
from service.contracts.api_key import ApiKey
from service.contracts.api_key import Scope as KeyScope
from service.contracts.ids import is_name
from service.refusals import MissingScope, Unauthenticated, shown

#: Finds the key of a secret; None if there is none.
FindKey: TypeAlias = Callable[[str], Awaitable[ApiKey | None]]

#: Everybody's owner where keys are off.
DEFAULT_TENANT = "default"
#: Where the routes find the owner of a request. Without this middleware there is none, so they fail.
OWNER = "microcinema.owner"
#: Where the id of the request's key is; not there where keys are off.
KEY_ID = "microcinema.key_id"
#: An admin key acts for this owner.
OWNER_HEADER = "x-microcinema-owner"

#: For machines that run the gateway, the reference and the playground; none shows anything of an owner's.
OPEN_PATHS = frozenset(
    {"/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/oauth2-redirect"}
)
#: Signed links carry their permission with them: `<video>` and EventSource send no header. The playground's
#: own files show nothing of anybody's.
OPEN_PREFIXES = ("/artifacts/", "/events/", "/playground/")

_LOOKS = frozenset({"GET", "HEAD"})


class KeyGate:
    """Finds the owner of each request by its `Authorization: Bearer` key. `find` None: keys are off.

    Every path needs a key that is not named above, unknown ones too. Raises Unauthenticated, MissingScope or
    RecordUnavailable.
    """

    def __init__(self, app: ASGIApp, find: FindKey | None) -> None:
        self.app = app
        self.find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if self.find is None:
                scope[OWNER] = DEFAULT_TENANT  # in place: the router's findings go to those outside, too
            elif not is_open(path):
                scope[OWNER], scope[KEY_ID] = await self._owner(
                    self.find, Headers(scope=scope), scope["method"]
                )
        await self.app(scope, receive, send)

    async def _owner(self, find: FindKey, headers: Headers, method: str) -> tuple[str, str]:
        kind, _, secret = headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if kind.lower() != "bearer" or not secret:
            raise _unauthenticated("send an API key as `Authorization: Bearer mck_...`", "")
        async with reaching_record():
            key = await find(secret)
        if key is None:
            raise _unauthenticated("this API key is unknown or revoked", ' error="invalid_token"')
        needed = KeyScope.READ if method in _LOOKS else KeyScope.WRITE
        if not key.allows(needed):
            raise _missing(key, needed, f"{method} needs the scope {needed}")
        return _acted_for(key, headers.get(OWNER_HEADER)), key.id


def is_open(path: str) -> bool:
    """Whether this path shows nothing of an owner's, or carries its permission with it."""
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIXES)


def is_loopback(host: str) -> bool:
    """Whether a server that binds `host` is out of reach for other machines. A name is judged by itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _acted_for(key: ApiKey, named: str | None) -> str:
    if named is None or named == key.owner:
        return key.owner
    if not key.allows(KeyScope.ADMIN):
        raise _missing(key, KeyScope.ADMIN, f"acting for the owner {shown(named)} needs the scope admin")
    if not is_name(named):
        raise MissingScope(
            f"{OWNER_HEADER} must be the name of an owner, got {shown(named)}", param=OWNER_HEADER
        )
    return named


def _unauthenticated(sentence: str, why: str) -> Unauthenticated:
    return Unauthenticated(
        sentence, headers={"WWW-Authenticate": f'Bearer realm="microcinema"{"," if why else ""}{why}'}
    )


def _missing(key: ApiKey, scope: KeyScope, sentence: str) -> MissingScope:
    has = ", ".join(sorted(key.scopes))
    told = f'Bearer realm="microcinema", error="insufficient_scope", scope="{scope}"'
    return MissingScope(f"{sentence}; this API key has {has}", headers={"WWW-Authenticate": told})
