from raycollab.models import MLP, Checkpointed, Pretrained, Transformers
from raycollab.models.origin import origin


def test_where_weights_come_from(tmp_path):
    net = Transformers(str(tmp_path))
    assert origin(net) == f"{tmp_path} (license unknown: ask whoever trained it)"
    (tmp_path / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\nlicense: no\n")
    assert origin(Checkpointed(net)) == f"{tmp_path} (license apache-2.0)"
    assert origin(Pretrained(MLP(2, 2), "a.safetensors")).startswith("a.safetensors (license unknown")
    assert origin(Transformers(str(tmp_path), pretrained=False)) == ""
    assert origin(MLP(2, 2)) == origin(None) == ""
