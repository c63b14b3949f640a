"""What others ask a running driver to do: it is done between two rounds."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from raycollab.errors import ClusterError

Answer = TypeVar("Answer")


class Commands:
    """A queue that any thread may put into, and the driver's thread works off."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[Any], Any], Future[Any]]] = deque()
        self._closed = False

    def put(self, act: Callable[[Any], Answer]) -> Future[Answer]:
        """Have something done with the driver; the answer is there once it is done."""
        future: Future[Answer] = Future()
        self._waiting.append((act, future))
        if self._closed:
            self.close()
        return future

    def carry_out(self, driver: Any) -> None:
        """Do what has been asked for by now; whatever it raises is its asker's."""
        while self._waiting:
            act, future = self._waiting.popleft()
            try:
                future.set_result(act(driver))
            except Exception as error:
                future.set_exception(error)

    def close(self) -> None:
        """Refuse what has not been done, and whatever is asked from now on."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft()[1].set_exception(ClusterError("the run has ended before it came to this"))
