"""TCP ports on this machine."""

import contextlib
import errno
import socket


def free_ports(count: int) -> list[int]:
    """`count` different ports of 127.0.0.1 that were free a moment ago.

    Another program may take one before its child binds it; the child then falls and says so.
    """
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on `host`:`port` (1 to 65535) now. Raises OSError for a host not ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name at all, such as ".."
        why = error.strerror if isinstance(error, socket.gaierror) else error
        raise OSError(f"the host {host!r} is no address of this machine: {why}") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise OSError(f"nothing can listen on {host!r}: {error.strerror}") from None
    return True
