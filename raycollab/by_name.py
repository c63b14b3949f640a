"""Settings that give each agent a number by its name."""

from collections.abc import Iterable, Mapping, Sequence

from raycollab.errors import ConfigError

_MOST = 8  # names in a message


def check_names(setting: str, by_name: Mapping[str, float]) -> None:
    """Raise ConfigError for a name that is no text, such as a number that a YAML file has without quotes."""
    for name in by_name:
        if not isinstance(name, str):
            raise ConfigError(f"{setting}: the name {name!r} is no text; write it in quotes, as {str(name)!r}")


def check_known(setting: str, by_name: Mapping[str, float], names: Iterable[str]) -> None:
    """Raise ConfigError for a name that none of the agents has."""
    names = list(names)
    unknown = sorted(set(by_name) - set(names))
    if unknown:
        raise ConfigError(f"{setting}: there is no agent {unknown[0]!r}; the agents are {listed(names)}")


def listed(names: Sequence[str]) -> str:
    """Names in a line: the first few, if they are many."""
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return f"{', '.join(names[:_MOST])}{more}"
