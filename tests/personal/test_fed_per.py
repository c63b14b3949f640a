import raycollab as rc
from raycollab.personal import fed_per


def test_everything_but_the_head_travels():
    exchange = fed_per("head.*", "norm.weight")
    assert exchange == rc.Exchange(exclude=("head.*", "norm.weight"))
    assert [exchange.matches(name) for name in ("body.weight", "head.weight", "norm.weight")] == [True, False, False]
