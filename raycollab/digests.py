"""SHA-256 over the bits of vectors and files: by it, what was sent and what was committed can be told apart."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from raycollab.storage import Storage


def digest_of(vectors: Mapping[str, Tensor]) -> str:
    """Over names, forms and bits of vectors, in the order of their names; hexadecimal."""
    total = hashlib.sha256()
    for name, vector in sorted(vectors.items()):
        total.update(f"{name} {vector.dtype} {list(vector.shape)}".encode())
        total.update(vector.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def digest_of_bytes(data: bytes) -> str:
    """Of a file's content; hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digests_of_files(storage: Storage) -> dict[str, str]:
    """Of every file in a folder and those below it, by its path in it."""
    found = {name: digest_of_bytes(storage.read_bytes(name)) for name in storage.list_files()}
    for folder in storage.list_dirs():
        found |= {f"{folder}/{path}": digest for path, digest in digests_of_files(storage.child(folder)).items()}
    return found
