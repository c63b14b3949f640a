import stat

import pytest

from raycollab.errors import ConfigError
from raycollab.vertical.salt import new_salt, read_salt, tag_of


def test_a_new_salt_is_its_owners_alone(tmp_path):
    for name in ("one", "two"):
        new_salt(str(tmp_path / name))
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    one, two = (read_salt(str(tmp_path / name), "bank") for name in ("one", "two"))
    assert len(one) == 32
    assert one != two
    assert tag_of(one) == tag_of(bytes(one)) != tag_of(two)
    assert one.hex()[:16] not in tag_of(one)


def test_a_salt_is_never_overwritten(tmp_path):
    new_salt(str(tmp_path / "salt"))
    before = (tmp_path / "salt").read_bytes()
    with pytest.raises(ConfigError, match="exists already, and a salt is never overwritten"):
        new_salt(str(tmp_path / "salt"))
    assert (tmp_path / "salt").read_bytes() == before
    with pytest.raises(ConfigError, match="cannot be written"):
        new_salt(str(tmp_path / "no" / "folder"))


@pytest.mark.parametrize(
    ("size", "mode", "message"),
    [
        (32, 0o644, r"Party\('bank'\).salt=.*: can be read by others \(mode 0644\): run `chmod 600"),
        (8, 0o600, "holds 8 bytes, and needs 16 random ones or more: one party makes it with rc.vertical.new_salt"),
        (None, None, "cannot be read: .*; it must be on the party's node"),
    ],
)
def test_files_that_are_no_salt(size, mode, message, tmp_path):
    path = tmp_path / "salt"
    if size is not None:
        path.write_bytes(bytes(size))
        path.chmod(mode)
    with pytest.raises(ConfigError, match=message):
        read_salt(str(path), "bank")
