"""The installed steps as Python: `from filemill.builtin import read_csv, route, write`.

`read_csv(types={"amount": "float"})` is the step that `read_csv: {types: {amount: float}}` is in YAML; one value in
place of options is what stands behind the name there: `filter("amount > 0")`, `write("out")`. Plugins are here as
well. A name that Python keeps to itself may end in an underscore, as may an option's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from filemill.model.errors import FilemillError, UsageError
from filemill.pipeline_api import NOTHING, Spot, Step, check_names, spot
from filemill.ports.registry import Registry


class StepMaker:
    """One installed step: called with its options, it is placed in a pipeline."""

    def __init__(self, name: str, component: Any) -> None:
        self.name = name
        self._spec = component.spec
        self._known = [field.alias or key for key, field in component.Options.model_fields.items()]
        self.__doc__ = f"{self._spec.summary}\n\nIn YAML: {self._spec.example}"

    def __call__(self, value: Any = NOTHING, /, **options: Any) -> Step:
        """The step with these options, or with one value in their place.

        Raises:
            UsageError: it has no option of that name, or takes no such value.
        """
        here = spot(1)
        given = {key.removesuffix("_"): each for key, each in options.items()}
        if self._spec.shorthand_only and given:
            raise UsageError(
                f"`{self.name}` takes one value, not options", help=f"in YAML: {self._spec.example}"
            )
        if value is not NOTHING and given:
            raise UsageError(
                f"`{self.name}` takes options or one value, not both",
                help=f"in YAML: {self._spec.example}",
            )
        if value is not NOTHING:
            return Step(self.name, value, here)
        check_names(f"`{self.name}`", given, self._known)
        return Step(self.name, given or NOTHING, here)

    def step(self, where: Spot) -> Step:
        """The step without options, for a pipeline that names it uncalled."""
        return Step(self.name, NOTHING, where)

    def __repr__(self) -> str:
        return f"<filemill.builtin.{self.name}>"


@cache
def _registry() -> Registry:
    return Registry()


@cache
def _maker(name: str) -> StepMaker:
    return StepMaker(name, _registry().get("steps", name))


def __getattr__(name: str) -> StepMaker:
    """The installed step of this name.

    Raises:
        AttributeError: there is none; says how to get it where that is known.
    """
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        return _maker(name.removesuffix("_"))
    except FilemillError as error:
        raise AttributeError(
            f"{error.message}; {error.help or 'filemill steps ls'}", name=name
        ) from error


def __dir__() -> list[str]:
    return _registry().names("steps")
