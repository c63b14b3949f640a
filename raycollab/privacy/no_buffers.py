"""What noise on parameters does not cover."""

from raycollab.errors import ModelError
from raycollab.spec import ParamSpec


def check_no_buffers(owner: str, spec: ParamSpec) -> None:
    """Raise ModelError, in the name of whoever adds the noise, if buffers travel: they would without any."""
    if spec.num_buffers:
        raise ModelError(
            f"{owner}: {spec.buffers[0].name} and other buffers would travel without noise: set "
            f"Exchange(buffers='private'), or take a net without BatchNorm"
        )
