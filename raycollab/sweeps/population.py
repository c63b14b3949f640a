"""Populations of trials that are compared all together, in Ray Tune's schedulers."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining


class _Alive:
    """A controller of Tune's for which trials that have failed or ended are not alive.

    Args:
        controller: Tune's own, which takes those that have failed for alive.
    """

    def __init__(self, controller: Any):
        self._controller = controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def get_live_trials(self) -> list[Trial]:
        """Those that go on."""
        return [trial for trial in self._controller.get_trials() if not trial.is_finished()]


def lasting(kind: type[PopulationBasedTraining]) -> type[PopulationBasedTraining]:
    """A scheduler of this kind that goes on without trials that fail or end while others wait for them.

    Tune's own compares trials when the last one that is awaited reports; where it never does, all wait for ever.
    """

    class Population(kind):  # type: ignore[misc, valid-type]
        def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
            return super().on_trial_result(_Alive(tune_controller), trial, result)

        def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
            found = super().choose_trial_to_run(tune_controller)
            alive = _Alive(tune_controller).get_live_trials()
            if found is not None or not alive or any(trial.status != Trial.PAUSED for trial in alive):
                return found
            last = alive[-1]
            self.on_trial_result(tune_controller, last, self._trial_state[last].last_result)
            return super().choose_trial_to_run(tune_controller)

    return Population
