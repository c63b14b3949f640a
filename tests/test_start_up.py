"""A run of plain SGD imports nothing that costs a second: what is loaded when each of its rounds has ended."""

import subprocess
import sys

PROGRAM = """
import sys

import raycollab as rc

COSTLY = ("torch._dynamo", "torch._inductor", "torch.onnx", "ray.tune", "sklearn.metrics", "transformers", "matplotlib")


class Watch(rc.Callback):
    def on_round(self, report):
        print(report.index, *(name for name in COSTLY if name in sys.modules))


rc.fit(
    [rc.Agent(f"agent-{i}", shard, LEARNER) for i, shard in enumerate(rc.data.Digits("train").split(rc.IID(2)))],
    rc.chain(rc.ClipNorm(10.0), rc.Mean(), rc.Momentum(0.5)),
    task=rc.ImageClassification(rc.models.MLP(64, 10), num_classes=10),
    test=rc.data.Digits("test"),
    run=rc.RunConfig(num_rounds=2),
    scaling=rc.ScalingConfig(pool="local"),
    callbacks=[Watch()],
)
"""


def loaded_after_rounds(learner, folder):
    command = [sys.executable, "-c", PROGRAM.replace("LEARNER", learner)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True).stdout.splitlines()


def test_plain_sgd_loads_nothing_costly(tmp_path):
    assert loaded_after_rounds("rc.SGD(lr=0.1, momentum=0.9)", tmp_path) == ["1", "2"]


def test_what_is_costly_would_be_seen(tmp_path):
    """Making an optimizer of torch imports it."""
    first, second = loaded_after_rounds("rc.Optimizer('SGD', {'lr': 0.1})", tmp_path)
    assert first.startswith("1 torch._dynamo")
    assert second.startswith("2 torch._dynamo")
