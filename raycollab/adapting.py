"""A saved model adapted to a file of a new party's few examples, and saved beside it."""

from raycollab.deploy import TrainedModel, save_model
from raycollab.recipe import to_plain
from raycollab.storage import Storage
from raycollab.task import Adapts


def adapt_file(model: TrainedModel, data: str, out: str, learner: Adapts | None = None) -> int:
    """Adapt a model to the examples of a file and save what comes out; returns their number.

    Args:
        model: The model.
        data: Parquet, Arrow, CSV or JSON-lines file with the task's columns, labels too.
        out: Folder to write, which `load_model` reads.
        learner: TrainedModel.adapt's.
    """
    columns = model.source(data).read()
    adapted, count = model.adapt(columns, learner), len(next(iter(columns.values())))
    facts = {"reader": to_plain(model.reader), "adapted": {"examples": count}}
    card = f"# {type(adapted.task).__name__}, adapted\n\nA trained model, adapted to {count:,} examples of {data}.\n"
    save_model(Storage(out), adapted.task, adapted.module, card=card, facts=facts)
    return count
