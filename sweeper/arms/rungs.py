"""The ladder's section of a configuration, and its rungs with everything that those below hand on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from sweeper.arms.arm import Arm, stored_name
from sweeper.config.sections import Section
from sweeper.content import content_hash
from trainers.abra.abra_settings import AbraSettings
from trainers.images.image_settings import ImageAbraSettings

Settings = AbraSettings | ImageAbraSettings


class Rung(Section):
    """One rung of the ladder."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_+.-]{1,40}$", description="Its name in results and report: letters, digits, _ + . -"
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="What it changes of the trainer's settings; it stays changed on the rungs above.",
    )
    adversarial_weight: tuple[Annotated[float, Field(ge=0)], ...] | None = Field(
        default=None,
        min_length=1,
        description="λ, or several, of which the best on the selecting batches counts; none: as below (0 at first).",
    )
    margin: Annotated[float, Field(ge=0, lt=math.pi / 2)] | None = Field(
        default=None, description="Angular margin in radians; none: as below (0 at first)."
    )

    @field_validator("adversarial_weight", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("settings")
    @classmethod
    def _same_network(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in ("backbone", "weights"):
            if key in value:
                raise ValueError(f"{key} is the whole sweep's; set it under the trainer's name")
        return value


class Ladder(Section):
    """The trainer built up rung by rung (ERM, then what ABRA adds), beside the sweep: no rung is on its curve."""

    view: str | None = Field(default=None, description="The view it is scored in; none: the deciding one.")
    select_on: tuple[str, ...] = Field(
        min_length=1,
        description="Held-out units that rungs and their λ are selected on, as the view's column names them: 'val' of "
        "the official split, or batches. The other held-out units are the test.",
    )
    rungs: tuple[Rung, ...] = Field(min_length=1, description="From the bottom; each keeps what those below changed.")

    @field_validator("rungs")
    @classmethod
    def _each_once(cls, value: tuple[Rung, ...]) -> tuple[Rung, ...]:
        names = [rung.name for rung in value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"rung {twice!r} is there twice")
        return value


@dataclass(frozen=True, kw_only=True)
class ResolvedRung:
    """One rung with everything that the rungs below hand on.

    Attributes:
        name: as configured.
        code: "<name>@<hash of its settings>": a changed rung is another cell.
        settings: the trainer's whole settings.
        strengths: (adversarial weight, margin), ascending.
    """

    name: str
    code: str
    settings: Settings
    strengths: tuple[tuple[float, float], ...]

    @property
    def trainer(self) -> str:
        """What its cells are stored under."""
        return stored_name(Arm.LADDER, self.code)


def resolve(ladder: Ladder, base: Settings) -> tuple[ResolvedRung, ...]:
    """The rungs from the bottom, on the trainer's settings.

    Raises:
        ValueError: a rung whose settings do not fit, that changes nothing, or whose adversary has no weight.
    """
    settings: dict[str, Any] = base.model_dump(mode="json")
    weights: tuple[float, ...] = (0.0,)
    margin = 0.0
    found: list[ResolvedRung] = []
    for rung in ladder.rungs:
        settings = _merged(settings, rung.settings)
        weights = weights if rung.adversarial_weight is None else rung.adversarial_weight
        margin = margin if rung.margin is None else rung.margin
        whole = _validated(type(base), settings, rung.name)
        # The weights' file is the sweep's, and in its identity by content.
        code = content_hash(whole.model_dump(mode="json", exclude={"weights"}))[:8]
        made = ResolvedRung(
            name=rung.name,
            code=f"{rung.name}@{code}",
            settings=whole,
            strengths=tuple((weight, margin) for weight in sorted(set(weights))),
        )
        _check(made, rung, found)
        found.append(made)
    return tuple(found)


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with `changes`; sections inside are merged, not replaced."""
    merged = dict(settings)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _validated(model: type[Settings], settings: Mapping[str, Any], name: str) -> Settings:
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"rung {name}: settings.{key}: {first['msg'].removeprefix('Value error, ')}") from None


def _check(made: ResolvedRung, given: Rung, below: list[ResolvedRung]) -> None:
    """Refuse what would be trained without doing what its name says."""
    margin = made.strengths[0][1]
    if getattr(made.settings, "head", "") == "linear" and margin:
        raise ValueError(f"rung {made.name}: a linear head has no margin, got {margin:g}")
    changed = {key: given.settings[key] for key in ("statistics", "critic") if key in given.settings}
    idle = [f"{key} = {value}" for key, value in changed.items() if value != "none"]
    if idle and all(weight == 0 for weight, _ in made.strengths):
        raise ValueError(f"rung {made.name}: {idle[0]} does nothing at adversarial_weight 0; give the rung a λ")
    for other in below:
        if (other.settings, other.strengths) == (made.settings, made.strengths):
            raise ValueError(f"rung {made.name}: is rung {other.name} under another name; change something")


__all__ = ["Ladder", "ResolvedRung", "Rung", "resolve"]
