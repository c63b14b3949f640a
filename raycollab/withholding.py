"""Parts of an update that stay with their agent."""

from dataclasses import replace

from raycollab.spec import Coverage, ParamSpec, Segments
from raycollab.types import Update


def without_withheld(update: Update, own: ParamSpec, whole: ParamSpec) -> Update:
    """An update without the elements that its agent withholds: rules divide by the weight that arrived for each.

    Args:
        update: Its vectors hold all that the agent exchanges.
        own: What stands where in them.
        whole: What stands where in the driver's vectors.
    Raises: ModelError for a name that is not exchanged.
    """
    kept = own.without(update.withheld)
    here = own.coverage(kept)
    vectors = {name: here.of(name).take(vector) for name, vector in update.vectors.items()}
    return replace(update, vectors=vectors, coverage=whole.coverage(kept), withheld=())


def some_part(spec: ParamSpec) -> Coverage:
    """All but one element: what an agent that withholds something may send, for rules to say whether they take it."""

    def less(size: int) -> Segments:
        return Segments(size, ((0, size - 1),)) if size > 1 else Segments.all(size)

    return Coverage(less(spec.num_params), less(spec.num_buffers))
