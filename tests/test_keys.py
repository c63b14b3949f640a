import os
import sys

import pytest

from raycollab import keys
from raycollab.errors import ConfigError
from raycollab.keys import Key, is_signed, new_key, public_key, public_keys


def test_what_a_key_signs_is_its_own_and_nobody_elses(tmp_path):
    key, other = new_key("north", str(tmp_path)), new_key("south", str(tmp_path))
    signature = key.signer()(b"hello")
    assert is_signed(b"hello", signature, key.public)
    assert not is_signed(b"hullo", signature, key.public)
    assert not is_signed(b"hello", signature, other.public)
    assert not is_signed(b"hello", "no hex", key.public)
    assert public_key(key.path) == key.public
    assert key.signer()(b"hello") == signature  # a replayed round is signed to the same bits


def test_a_new_key_is_for_its_owner_alone_and_never_overwritten(tmp_path):
    key = new_key("north", str(tmp_path))
    assert os.stat(key.path).st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="exists already, and a key is never overwritten"):
        new_key("north", str(tmp_path))
    with pytest.raises(ConfigError, match="keys new='a/b'"):
        new_key("a/b", str(tmp_path))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    key = new_key("north", str(tmp_path))
    os.chmod(key.path, mode)
    with pytest.raises(ConfigError, match=rf"can be read by others \(mode {mode:04o}\): run `chmod 600"):
        key.signer()


def test_other_keys_and_files_are_refused(tmp_path):
    north, south = new_key("north", str(tmp_path)), new_key("south", str(tmp_path))
    with pytest.raises(ConfigError, match=f"has the public key '{north.public}'"):
        Key(north.path, south.public).signer()
    with pytest.raises(ConfigError, match=r"cannot be read.*on the node where the agent runs"):
        Key(str(tmp_path / "no.key"), north.public).signer()
    file = tmp_path / "text.key"
    file.write_text("hello")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="is no private key"):
        Key(str(file), north.public).signer()
    with pytest.raises(ConfigError, match=r"Key.public='abc': must be 64 hexadecimal digits"):
        Key(north.path, "abc")


def test_all_agents_have_keys_or_none(tmp_path):
    key = new_key("north", str(tmp_path))
    assert public_keys({"north": None, "south": None}) == {}
    assert public_keys({"north": key}) == {"north": key.public}
    with pytest.raises(ConfigError, match=r"agents south have no key, and the others do.*raycollab keys new"):
        public_keys({"north": key, "south": None})


def test_without_cryptography_the_remedy_is_named(tmp_path, monkeypatch):
    key = new_key("north", str(tmp_path))
    monkeypatch.setattr(keys, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"pip install 'raycollab\[trust\]'"):
        key.signer()
    with pytest.raises(ConfigError, match=r"pip install 'raycollab\[trust\]'"):
        public_keys({"north": key})
    assert public_keys({"north": None}) == {}  # nobody who signs nothing needs it
