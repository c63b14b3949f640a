import logging

import pytest

from raycollab.runtime.placement import _quiet_about_tokens

LOGGER = "ray._private.authentication.authentication_token_setup"


@pytest.mark.parametrize("module", [LOGGER])
def test_that_a_local_cluster_has_a_token_is_not_told_but_that_it_has_none_is(caplog, module):
    """The logger and the words are Ray's own: a Ray that says it otherwise fails here."""
    setup = pytest.importorskip(module)
    with _quiet_about_tokens():
        setup._warn_token_auth_enabled()
        setup._warn_token_auth_disabled()
    setup.logger.warning("something else")
    said = [record.getMessage()[:36] for record in caplog.records]
    assert said == ["Token authentication is disabled for", "something else"]
    assert logging.getLogger(LOGGER).filters == []
