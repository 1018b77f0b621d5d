"""What ends a run that asks a server."""


class ServerError(RuntimeError):
    """What keeps a server from answering any further request."""
