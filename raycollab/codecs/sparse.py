"""What is mostly zeros, without the zeros."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raycollab.codecs.base import Codec


@dataclass(frozen=True)
class Sparse(Codec):
    """The elements that are not zero, and where they are: nothing is lost but the sign of a zero.

    Places are written as 32-bit numbers, or as one bit an element where that is shorter; a vector that would not get
    shorter goes as it is. It chooses nothing: vectors are made sparse by the transforms TopK and RandomK on each agent,
    left of the aggregator, because what they leave out is added to the agent's next delta. That error belongs to the
    agent, which keeps it over rounds and restarts; a codec remembers nothing and does not know whose vector it writes.
    The sum of k agents' sparse deltas has up to k times as many elements.

    Shapes: [d] with n elements -> min(8 n, 4 n + d / 8, 4 d) bytes.
    """

    def encode(self, vector: Tensor, *, seed: int) -> dict[str, np.ndarray]:
        """Choose the shortest form."""
        del seed
        size, count = vector.numel(), int(torch.count_nonzero(vector))
        if 4 * count + min(4 * count, -(-size // 8)) >= 4 * size:
            return {"dense": vector.contiguous().numpy()}
        mask = vector != 0
        values = vector[mask].numpy()
        if 32 * count < size <= 2**32:
            places = mask.nonzero().squeeze(1).numpy().astype(np.uint32)
            return {"values": values, "places": places, "size": np.array(size)}
        return {"values": values, "bits": np.packbits(mask.numpy()), "size": np.array(size)}

    def decode(self, arrays: dict[str, np.ndarray]) -> Tensor:
        """Put the elements into zeros."""
        if "dense" in arrays:
            return torch.from_numpy(arrays["dense"])
        size = int(arrays["size"])
        vector = np.zeros(size, np.float32)
        if "places" in arrays:
            vector[arrays["places"]] = arrays["values"]
        else:
            vector[np.unpackbits(arrays["bits"], count=size).view(bool)] = arrays["values"]
        return torch.from_numpy(vector)
