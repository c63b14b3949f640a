"""A step taken while the gradient is made is torch.optim.SGD's step on that gradient."""

import pytest
import torch

from raycollab.fused import Descent

K, M, N, B = 3, 4, 5, 2


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("by", ["by_product", "by_gradient"])
def test_steps_are_those_of_torch(by, momentum, weight_decay):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(K, M, N, generator=generator)
    param, velocity = start.clone(), torch.zeros_like(start)
    reference = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([reference], lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for _ in range(3):
        left, right = torch.randn(K, M, B, generator=generator), torch.randn(K, B, N, generator=generator)
        descent = Descent([param], 0.1, weight_decay, momentum, [velocity] if momentum else ())
        if by == "by_product":
            descent.by_product(0, left, right)
        else:
            descent.by_gradient(0, left @ right)
        reference.grad = left @ right
        optimizer.step()
    torch.testing.assert_close(param, reference.detach(), rtol=1e-5, atol=1e-5)
