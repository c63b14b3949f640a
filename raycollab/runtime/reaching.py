"""Whether a cluster is there and lets this process in, before Ray tries: it would go on for half a minute or longer."""

import os
import socket

import grpc
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated.gcs_service_pb2 import CheckAliveRequest
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
from ray.exceptions import AuthenticationError

from raycollab.errors import ClusterError

TOKEN_RECIPE = """If it asks for a token, then on this machine:
    export RAY_AUTH_MODE=token
    export RAY_AUTH_TOKEN_PATH=~/.ray/auth_token     (a copy of the head's ~/.ray/auth_token, mode 600)
and run the command again"""
_TIMEOUT_S = 5.0
_DIRECT = [("grpc.enable_http_proxy", 0)]  # as Ray's own connections are


def knock(address: str, remedy: str) -> None:
    """Refuse an address where nobody listens.

    Args:
        address: HOST:PORT; other forms of address are left to Ray.
        remedy: What to do about it, for the message.
    Raises: ClusterError if there is no connection.
    """
    if (place := _host_and_port(address)) is None:
        return
    try:
        socket.create_connection(place, timeout=_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"Ray cluster at {address}: nobody answers there: {error}; {remedy}") from error


def introduce(address: str) -> None:
    """Refuse a head that refuses this process; ask it as Ray does, with its token and certificates, but once.

    A head that is too busy to answer in time, and one that cannot be understood with TLS, are left to Ray.

    Args:
        address: HOST:PORT of a head, where somebody listens; other forms of address are left to Ray.
    Raises: ClusterError if the token is wrong or missing, or what listens there does not speak as a head does.
    """
    if _host_and_port(address) is None:
        return
    try:
        with init_grpc_channel(address.removeprefix("ray://"), _DIRECT) as channel:
            NodeInfoGcsServiceStub(channel).CheckAlive(CheckAliveRequest(), timeout=_TIMEOUT_S)
    except AuthenticationError as error:
        raise ClusterError(f"Ray cluster at {address}: {_first_line(error)}\n{TOKEN_RECIPE}") from error
    except RuntimeError as error:  # settings of TLS that contradict each other
        raise ClusterError(f"Ray cluster at {address} cannot be used: {_first_line(error)}") from error
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise ClusterError(f"Ray cluster at {address}: {error.details()}\n{TOKEN_RECIPE}") from error
        if error.code() == grpc.StatusCode.UNAVAILABLE and not _with_tls():
            raise ClusterError(
                f"Ray cluster at {address}: what answers there does not speak as a head does: {error.details()}; give "
                f"the port of `ray start --head --port` (6379, not that of the dashboard), and the RAY_USE_TLS and "
                f"certificates that the head was started with"
            ) from error


def _with_tls() -> bool:
    """Whether there are certificates, which Ray may hold against another name of the head than was given here."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _host_and_port(address: str) -> tuple[str, int] | None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if "://" in host or not host or not port.isdigit():
        return None
    return host.strip("[]"), int(port)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
