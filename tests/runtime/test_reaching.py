"""Who is refused before Ray tries: by a head that is played, in the words of gRPC, and by others that listen."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from ray.core.generated.gcs_service_pb2 import CheckAliveReply
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceServicer, add_NodeInfoGcsServiceServicer_to_server
from ray.exceptions import AuthenticationError

from raycollab.errors import ClusterError
from raycollab.runtime import reaching
from raycollab.runtime.reaching import introduce, knock


class Head(NodeInfoGcsServiceServicer):
    """Lets everybody in, or nobody."""

    def __init__(self, refusal=None):
        self.refusal, self.asked = refusal, 0

    def CheckAlive(self, request, context):
        self.asked += 1
        if self.refusal:
            context.abort(self.refusal, "InvalidAuthToken: wrong")
        return CheckAliveReply(ray_version="2.60.0")


@contextmanager
def listening(head):
    server = grpc.server(ThreadPoolExecutor(1))
    add_NodeInfoGcsServiceServicer_to_server(head, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_who_is_let_in_is_asked_once():
    with listening(head := Head()) as address:
        introduce(address)
    assert head.asked == 1


def test_who_has_the_wrong_token_is_told_at_once_and_once():
    with listening(head := Head(grpc.StatusCode.UNAUTHENTICATED)) as address:
        with pytest.raises(ClusterError) as caught:
            introduce(address)
        assert str(caught.value).startswith(
            f"Ray cluster at {address}: InvalidAuthToken: wrong\nIf it asks for a token"
        )
    assert "export RAY_AUTH_MODE=token" in str(caught.value)
    assert head.asked == 1


def test_who_has_no_token_is_told_where_it_is_looked_for(monkeypatch):
    def no_token(*_):
        raise AuthenticationError("Token authentication is enabled but there is no token.\nMore.")

    monkeypatch.setattr(reaching, "init_grpc_channel", no_token)
    with pytest.raises(
        ClusterError, match=r"at h:1: .*there is no token.*(?s:.*)RAY_AUTH_TOKEN_PATH=~/.ray/auth_token"
    ):
        introduce("h:1")


def test_certificates_that_are_not_all_given(monkeypatch):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    for name in ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ClusterError, match=r"at h:1 cannot be used: .*RAY_TLS_CA_CERT must also be set"):
        introduce("h:1")


def test_a_head_of_another_ray_is_left_to_ray():
    with listening(Head(grpc.StatusCode.UNIMPLEMENTED)) as address:
        introduce(address)


def test_what_listens_and_is_no_head():
    """As the dashboard's port, or a head that speaks TLS to somebody who does not."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def answer():
            connection = server.accept()[0]
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        pool.submit(answer)
        with pytest.raises(
            ClusterError, match=r"does not speak as a head does: .*6379, not that of the dashboard.*TLS"
        ):
            introduce(f"127.0.0.1:{server.getsockname()[1]}")


def test_certificates_that_do_not_fit_are_left_to_ray(monkeypatch):
    class Unavailable(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.UNAVAILABLE

        def details(self):
            return "no match for the name"

    def refuse(*_):
        raise Unavailable

    monkeypatch.setattr(reaching, "init_grpc_channel", refuse)
    with pytest.raises(ClusterError, match="no match for the name; give the port"):
        introduce("h:1")
    monkeypatch.setenv("RAY_USE_TLS", "1")
    introduce("h:1")


def test_a_head_that_is_too_busy_is_left_to_ray(monkeypatch):
    monkeypatch.setattr(reaching, "_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        introduce(f"127.0.0.1:{server.getsockname()[1]}")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("address", ["auto", "local", "http://h:8265", "no such thing", "h:port"])
def test_other_forms_of_address_are_left_to_ray(address):
    knock(address, "")
    introduce(address)


def test_nobody_listens():
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"at {address}: nobody answers there: .*; start it"):
            knock(address, "start it")
    with pytest.raises(ClusterError, match="nobody answers there"):
        knock("127.0.0.1:70000", "")
