"""A trained module as ONNX, compared with what it says in torch."""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.storage import Storage
from raycollab.task import Task
from raycollab.types import Batch

FILE = "model.onnx"
_TOLERANCE = 1e-3  # of an output's size, and at least of 1: float32 in another order
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def export_onnx(module: nn.Module, task: Task, batch: Batch, out: Storage) -> float:
    """Write a module as model.onnx, for any number of rows; returns the largest difference from torch.

    Args:
        module: In evaluation mode.
        task: Gives it its inputs.
        batch: Rows to trace it with, and to compare it on; at least 3.
        out: A folder of this machine.
    Raises: ModelError if it cannot be written so, or says something else there.
    """
    absent = [name for name in _NEEDED if find_spec(name) is None]
    if absent:
        raise ModelError(f"ONNX needs {', '.join(absent)}, not installed: pip install 'raycollab[onnx]'")
    plain = _Named(module, *_inputs(module, task, batch))
    few = tuple(each[:2] for each in plain.inputs)  # traced with fewer rows than it is compared on
    with _explained(type(module).__name__), _silent():
        program: Any = torch.onnx.export(
            plain,
            few,
            dynamo=True,
            dynamic_shapes=(tuple(map(_free, few)),),
            input_names=list(plain.names),
            output_names=["output"],
            verbose=False,
        )
        program.save(f"{out.uri}/{FILE}")
    return _difference(plain, f"{out.uri}/{FILE}")


class _Named(nn.Module):
    """A module that takes tensors in one order, and gives one tensor."""

    def __init__(self, module: nn.Module, names: tuple[str, ...], inputs: tuple[Tensor, ...], num_unnamed: int):
        super().__init__()
        self.module, self.names, self.inputs, self._num_unnamed = module, names, inputs, num_unnamed

    def forward(self, *inputs: Tensor) -> Tensor:
        unnamed, rest = inputs[: self._num_unnamed], inputs[self._num_unnamed :]
        output: Any = self.module(*unnamed, **dict(zip(self.names[self._num_unnamed :], rest, strict=True)))
        return getattr(output, "logits", output)


def _inputs(module: nn.Module, task: Task, batch: Batch) -> tuple[tuple[str, ...], tuple[Tensor, ...], int]:
    """What a task calls its module with: names, tensors, and how many of them have no name of their own."""
    calls: list[tuple[tuple[Any, ...], Mapping[str, Any]]] = []
    hook = module.register_forward_pre_hook(lambda _, given, named: calls.append((given, named)), with_kwargs=True)
    try:
        with torch.inference_mode():
            task.predict(module, batch)
    finally:
        hook.remove()
    if len(calls) != 1:
        raise ModelError(
            f"ONNX: {type(task).__name__} calls its model {len(calls)} times a batch; one call is exported"
        )
    given, named = calls[0]
    unnamed = ["input"] if len(given) == 1 else [f"input_{number}" for number in range(len(given))]
    inputs = {
        **dict(zip(unnamed, given, strict=True)),
        **{name: each for name, each in named.items() if each is not None},
    }
    for name, each in inputs.items():
        if not isinstance(each, Tensor):
            raise ModelError(
                f"ONNX: {type(module).__name__} is given a {type(each).__name__} as {name}, and only tensors can be an "
                f"ONNX model's inputs; use --format safetensors"
            )
    return tuple(inputs), tuple(each.clone() for each in inputs.values()), len(given)


def _free(given: Tensor) -> dict[int, Any]:
    """The sides of an input that may be of another length: rows, and the length of rows of tokens."""
    is_tokens = given.ndim == 2 and not given.is_floating_point()
    return {0: torch.export.Dim.DYNAMIC, **({1: torch.export.Dim.AUTO} if is_tokens else {})}


def _difference(plain: _Named, path: str) -> float:
    runtime = import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = plain(*plain.inputs).float()
    taken = {each.name for each in runtime.get_inputs()}  # an input that changes nothing is left out
    given = {name: each.numpy() for name, each in zip(plain.names, plain.inputs, strict=True) if name in taken}
    said = torch.from_numpy(runtime.run(None, given)[0]).float()
    difference = float((said - expected).abs().max())
    largest = _TOLERANCE * max(1.0, float(expected.abs().max()))
    if not difference <= largest:
        raise ModelError(
            f"{path}: differs from torch by {difference:.3g} at most, more than {largest:.3g}; do not use it, and take "
            f"--format safetensors"
        )
    return difference


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch.onnx has no common kind of its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{name} cannot be written as ONNX: {reason}; use --format safetensors") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the exporter from telling of its steps."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
