"""The ladder's section of a configuration, and its rungs with everything that those below hand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from sweeper.arms.arm import Arm, stored_name
from sweeper.config.sections import Section
from sweeper.config.wording import one_line
from sweeper.content import content_hash
from trainers.trainer import Trainer


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
    margin: float | None = Field(
        default=None, description="Setting of the second dial (ABRA's margin in radians); none: as below (0 at first)."
    )

    @field_validator("adversarial_weight", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


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
    settings: BaseModel
    strengths: tuple[tuple[float, float], ...]

    @property
    def trainer(self) -> str:
        """What its cells are stored under."""
        return stored_name(Arm.LADDER, self.code)


def resolve(ladder: Ladder, how: Trainer, base: BaseModel) -> tuple[ResolvedRung, ...]:
    """The rungs from the bottom, on the trainer's settings.

    Raises:
        ValueError: a rung whose settings do not fit, that changes nothing, or whose adversary has no weight.
    """
    settings: dict[str, Any] = base.model_dump(mode="json")
    weights: tuple[float, ...] = (0.0,)
    margin = 0.0
    found: list[ResolvedRung] = []
    for rung in ladder.rungs:
        if fixed := next((key for key in how.sweep_wide if key in rung.settings), None):
            raise ValueError(
                f"rung {rung.name}: settings.{fixed} is the whole sweep's; set it under the trainer's name"
            )
        settings = _merged(settings, rung.settings)
        weights = weights if rung.adversarial_weight is None else rung.adversarial_weight
        margin = margin if rung.margin is None else rung.margin
        whole = _validated(type(base), settings, rung.name)
        # Files are the sweep's, and in its identity by content.
        code = content_hash(whole.model_dump(mode="json", exclude=set(how.files)))[:8]
        made = ResolvedRung(
            name=rung.name,
            code=f"{rung.name}@{code}",
            settings=whole,
            strengths=tuple((weight, margin) for weight in sorted(set(weights))),
        )
        _check(made, rung, found, how)
        found.append(made)
    return tuple(found)


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with `changes`; sections inside are merged, not replaced."""
    merged = dict(settings)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _validated(model: type[BaseModel], settings: Mapping[str, Any], name: str) -> BaseModel:
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise ValueError(one_line(error, f"rung {name}: settings", model)) from None


def _check(made: ResolvedRung, given: Rung, below: list[ResolvedRung], how: Trainer) -> None:
    """Refuse what would be trained without doing what its name says."""
    try:
        how.check(made.settings, made.strengths)
        how.check_rung(given.settings, made.strengths)
    except ValueError as error:
        raise ValueError(f"rung {made.name}: {error}") from None
    for strength in made.strengths:
        for key, setting, dial in zip(("adversarial_weight", "margin"), strength, how.dials, strict=False):
            if not dial.allows(setting):
                raise ValueError(f"rung {made.name}: {key}: {dial.refusal(setting)}")
    for other in below:
        if (other.settings, other.strengths) == (made.settings, made.strengths):
            raise ValueError(f"rung {made.name}: is rung {other.name} under another name; change something")


__all__ = ["Ladder", "ResolvedRung", "Rung", "resolve"]
