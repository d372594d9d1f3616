"""The configuration of a sweep: YAML in, one frozen value out; every key is documented where it is declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from sweeper.arms.arm_options import PseudoOptions, ShamOptions
from sweeper.arms.confirm import ConfirmOptions
from sweeper.arms.rungs import Ladder, resolve
from sweeper.config.given import parse_yaml, read_text, with_overrides
from sweeper.config.limits import check_cells, check_limits, check_name
from sweeper.config.listed import listed
from sweeper.config.sections import (
    ExecutorOptions,
    LocateSearch,
    OptunaSearch,
    Section,
    SpacedRange,
    Strengths,
    TrackingOptions,
    counted_seeds,
)
from sweeper.config.wording import one_line
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.errors import ConfigError
from sweeper.metrics.catalogue import BETWEEN_TARGETS
from sweeper.metrics.panel_options import PanelOptions
from trainers.errors import InputError
from trainers.image_features import FrozenBackbone
from trainers.registry import DEFAULT, trainer, trainer_names, usable_trainers
from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
from trainers.screens.images.source import SOURCES, ImageInput, ImageSource, relative_to
from trainers.screens.local_copy import copy_folder
from trainers.screens.place import checked_url, is_url
from trainers.screens.screen_spec import ScreenSpec
from trainers.screens.simulation_spec import SimulationSpec
from trainers.screens.view_spec import ViewSpec
from trainers.trainer import Dial, Spaced, Trainer

if TYPE_CHECKING:
    from sweeper.decision.verdict.next_points import NextOptions

Model = TypeVar("Model", bound=BaseModel)

VIEWS_WITHIN_BATCHES = ("held_out_plates",)
"""Views whose test rows are of batches that training sees: all that a transductive trainer can serve."""


class SweepKeys(Section):
    """Everything a sweep is made of, but the trainers' own sections."""

    name: str = Field(
        min_length=1, max_length=200, description="Name of the sweep: title of the report, MLflow run name."
    )
    folder: Path | str | None = Field(
        default=None,
        description="Output folder, or a URL (s3://bucket/folder); none: runs/<name>. Relative to where you are.",
    )
    screen: ScreenSpec | None = Field(default=None, description="The screen to read. Paths are relative to this file.")
    simulate: SimulationSpec | None = Field(default=None, description="A simulated screen instead of `screen`.")
    images: ImageInput | None = Field(
        default=None,
        description="Images instead of `screen`: {packed: FOLDER}, or the section that `sweeper pack` packs from "
        "(`sweeper pack --keys`). They must be packed.",
    )
    frozen: FrozenBackbone | None = Field(
        default=None, description="With images and a trainer of profiles: the backbone that embeds them once."
    )
    normalise: Literal["none", "screen", "batch", "plate", "plate_controls"] = Field(
        default="none",
        description="Input normalisation: over the whole screen (units alone), per batch, per plate, or by each "
        "plate's controls.",
    )
    views: tuple[ViewSpec, ...] = Field(min_length=1, description="Evaluation views; each is scored on its own.")
    held_out_perturbations: float = Field(
        default=0.0, ge=0, lt=1, description="Share of perturbations no encoder sees; profiling and retrieval use them."
    )
    split_draws: Literal["measurable", "first"] = Field(
        default="measurable",
        description="measurable: where the plates, batches or perturbations that a seed draws leave a deciding metric "
        "unmeasurable, it draws again; first: its first draw is kept, as in sweeps that were begun without this key.",
    )
    trainer: str = Field(
        default=DEFAULT,
        description="What is trained, by its name; its settings stand under that name. There are: "
        + "; ".join(f"{each.name}, {each.summary}" for each in usable_trainers())
        + ".",
    )
    strengths: Strengths = Field(description="The grid of correction strengths.")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 1, 2, 3, 4),
        min_length=1,
        description="Seeds; each means split + initialisation + order. A number n: 0..n-1.",
    )
    search: Literal["optuna", "locate"] = Field(
        default="optuna", description="What proposes strengths after the grid: optuna, or locate (see there)."
    )
    optuna: OptunaSearch = Field(description="Strengths proposed by Optuna, in rounds.")
    locate: LocateSearch = Field(
        default_factory=LocateSearch, description="Strengths and seeds placed where the point is believed to lie."
    )
    sham: ShamOptions = Field(
        default_factory=ShamOptions, description="The sham arm: over-correction or training damage?"
    )
    pseudo: PseudoOptions = Field(
        default_factory=PseudoOptions, description="The pseudo-batch arm: what a correction for nothing costs."
    )
    confirm: ConfirmOptions = Field(default_factory=ConfirmOptions, description="The bounds again on fresh seeds.")
    ladder: Ladder | None = Field(
        default=None, description="The trainer built up rung by rung on the same splits and seeds, beside the sweep."
    )
    metrics: tuple[str, ...] | None = Field(
        default=None, description="Metrics of the panel; none: those that decide and the cheap ones beside them."
    )
    panel: PanelOptions = Field(default_factory=PanelOptions, description="Options of the metrics.")
    biology: Literal["perturbation", "target"] = Field(
        default="perturbation",
        description="Between what biology is judged. target: different perturbations that share a target, in another "
        "batch (nscb_accuracy decides), for screens whose perturbations lie in one batch each.",
    )
    decision: DecisionSettings = Field(description="What decides, declared before the sweep.")
    keep: Literal["advised", "bounds", "all", "none"] = Field(
        default="advised",
        description="Models kept after the decision, fitted again on every well that may be used: advised, the advised "
        "strength; bounds, it and the bounds; all, every trained strength; or none. Each costs a training a seed and "
        "one a batch (12 at most).",
    )
    executor: ExecutorOptions = Field(default_factory=ExecutorOptions, description="How packs are run.")
    tracking: TrackingOptions = Field(default_factory=TrackingOptions, description="The MLflow mirror.")

    @field_validator("folder", mode="before")
    @classmethod
    def _check_folder(cls, folder: Any) -> Any:
        """A URL that is one, or a path."""
        if is_url(folder):
            return checked_url(folder)
        return Path(folder) if isinstance(folder, str) else folder

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        return counted_seeds(value)

    @model_validator(mode="before")
    @classmethod
    def _deciding_view(cls, data: Any) -> Any:
        """The first view decides unless the decision names another."""
        if isinstance(data, Mapping) and isinstance(views := data.get("views"), Sequence) and views:
            decision = data.get("decision") or {}
            first = views[0].get("view") if isinstance(views[0], Mapping) else None
            if isinstance(decision, Mapping) and "deciding_view" not in decision and first is not None:
                return {**data, "decision": {**decision, "deciding_view": first}}
        return data

    @model_validator(mode="before")
    @classmethod
    def _biology(cls, data: Any) -> Any:
        """Biology judged between targets decides, and chooses the margin, unless the decision names metrics."""
        if not isinstance(data, Mapping) or data.get("biology") != "target":
            return data
        decision = data.get("decision") or {}
        if not isinstance(decision, Mapping):
            return data
        named = decision.get("primary_biological") or BETWEEN_TARGETS
        margin = decision.get("margin_metric", DecisionSettings.model_fields["margin_metric"].default)
        if margin == DecisionSettings.model_fields["margin_metric"].default:
            margin = BETWEEN_TARGETS[0]
        return {**data, "decision": {**decision, "primary_biological": named, "margin_metric": margin}}

    @field_validator("trainer")
    @classmethod
    def _known_trainer(cls, value: str) -> str:
        try:
            found = trainer(value).name
        except InputError as error:
            raise ValueError(str(error).removeprefix("trainer: ")) from None
        if hasattr(SweepKeys, found) or found in SweepKeys.model_fields:
            raise ValueError(f"{found} is a word of the configuration itself; its package must give it another name")
        return found

    @model_validator(mode="before")
    @classmethod
    def _as_its_dials(cls, data: Any) -> Any:
        """What is swept and searched, where it is not given: as the trainer's dials propose."""
        if not isinstance(data, Mapping):
            return data
        name = data.get("trainer", DEFAULT)
        first, *further = trainer(name if name in trainer_names() else DEFAULT).dials
        low, high = first.span
        second = _listed(further[0]) if further else [0.0]
        filled = {
            "strengths": {"adversarial_weight": _listed(first), "margin": second},
            "optuna": {"low": low, "high": high},
        }
        for key, section in filled.items():
            given = data.get(key, {})
            if isinstance(given, Mapping):
                data = {**data, key: {**section, **given}}
        strengths = data["strengths"]
        if isinstance(strengths, Mapping) and isinstance(spaced := strengths["adversarial_weight"], Mapping):
            data = {**data, "strengths": {**strengths, "adversarial_weight": {"spacing": first.scale, **spaced}}}
        return data

    @model_serializer(mode="wrap")
    def _own_section_alone(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the sections of other trainers: a stored sweep is read where those are not installed."""
        others = set(trainer_names()) - {self.trainer}
        return {key: value for key, value in handler(self).items() if key not in others}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(given is not None for given in (self.screen, self.simulate, self.images)) != 1:
            raise ValueError("give one of `screen` (a file), `simulate` and `images` (packed), and only one")
        self._check_images()
        self._check_dials()
        names = [view.view for view in self.views]
        if len(set(names)) != len(names):
            raise ValueError(f"views: each view once, got {', '.join(names)}")
        if self.decision.deciding_view not in names:
            raise ValueError(
                f"decision.deciding_view: '{self.decision.deciding_view}' is not among the views ({', '.join(names)})"
            )
        if self.ladder is not None:
            self._check_ladder(self.ladder, names)
        arms = (("sham.seeds", self.sham.seeds), ("pseudo.seeds", self.pseudo.seeds))
        for key, seeds in (("seeds", self.seeds), *((name, of or ()) for name, of in arms)):
            if len(set(seeds)) != len(seeds):
                raise ValueError(f"{key}: a seed is repeated")
        return self

    def _check_images(self) -> None:
        """Refuse a trainer or a backbone that does not fit what is read."""
        name, reads = self.trainer, self.how.reads
        others = [each.name for each in usable_trainers() if each.reads != reads]
        if self.frozen is not None and self.images is None:
            raise ValueError("frozen: embeds images; give `images`")
        if reads == "images":
            if self.images is None:
                raise ValueError(f"trainer: {name} trains on images; give `images`, or one of {', '.join(others)}")
            if self.frozen is not None:
                raise ValueError(f"frozen: embeds the images as profiles; {name} trains its backbone, take one")
            if self.normalise != "none":
                raise ValueError(f"normalise: {self.normalise} is for profiles; {name} reads the images themselves")
        elif self.images is not None and self.frozen is None:
            raise ValueError(
                f"trainer: {name} reads profiles; with `images` give `frozen: {{backbone: …}}` (embedded once), or "
                f"trainer: {' or '.join(others)}"
            )

    def _check_dials(self) -> None:
        """Refuse settings that a dial does not have, that do not go with the trainer's, and views it cannot serve."""
        first, *further = self.how.dials
        swept = self.strengths.adversarial_weight
        ranged = isinstance(swept, SpacedRange)
        ends = (swept.low, swept.high) if isinstance(swept, SpacedRange) else swept  # never a range of 10¹² settings
        for weight, end in zip(ends, (".low", ".high") if ranged else [""] * len(ends), strict=True):
            if not first.allows(weight):
                raise ValueError(f"strengths.adversarial_weight{end}: {first.refusal(weight)}")
        searched = (self.optuna.margin or ()) if self.optuna.rounds else ()
        for key, margins in (("strengths.margin", self.strengths.margin), ("optuna.margin", searched)):
            for margin in margins:
                if further and not further[0].allows(margin):
                    raise ValueError(f"{key}: {further[0].refusal(margin)}")
                if not further and margin:
                    raise ValueError(f"{key}: {self.trainer} has one dial, {first.title}; give margin: [0]")
        if self.search == "optuna" and self.optuna.rounds and not first.allows(self.optuna.high):
            raise ValueError(f"optuna.high: {first.refusal(self.optuna.high)}")
        try:
            self.how.check(
                self.trainer_settings, [(weight, m) for weight in (0.0, *ends) for m in self.strengths.margin]
            )
        except ValueError as error:
            raise ValueError(f"{self.trainer}.{error}") from None
        beyond = [view.view for view in self.views if view.view not in VIEWS_WITHIN_BATCHES]
        if beyond and not self.how.inductive(self.trainer_settings):
            raise ValueError(
                f"views: {self.trainer} corrects the screen that it is fitted on, and {beyond[0]} asks for what it "
                f"never saw; take {' or '.join(VIEWS_WITHIN_BATCHES)}"
            )

    def _check_ladder(self, ladder: Ladder, views: Sequence[str]) -> None:
        """Refuse a view that is not there, and rungs that do not fit."""
        if ladder.view is not None and ladder.view not in views:
            raise ValueError(f"ladder.view: '{ladder.view}' is not among the views ({', '.join(views)})")
        if "batch" not in self.panel.units:
            raise ValueError("panel.units: the ladder is read by batch; name batch among them")
        if not self.how.classifies:
            raise ValueError(f"ladder: is read from plain accuracies, and {self.trainer} names no perturbation")
        try:
            resolve(ladder, self.how, self.trainer_settings)
        except ValueError as error:
            raise ValueError(f"ladder.rungs: {error}") from None

    @property
    def how(self) -> Trainer:
        """The trainer that is swept."""
        return trainer(self.trainer)

    @property
    def trainer_settings(self) -> BaseModel:
        """Its settings, an instance of its `settings`."""
        found: BaseModel = getattr(self, self.trainer)
        return found

    @property
    def reads_batches(self) -> bool:
        """Whether batch labels matter to the trainer."""
        return self.how.reads_batches(self.trainer_settings)

    @property
    def next_options(self) -> NextOptions:
        """What the decision's next points may ask for."""
        return replace(self.locate.next_options, largest=self.how.dials[0].high)

    @property
    def pack_size(self) -> int | None:
        """Cells of a pack; None: as many as keep the workers busy."""
        return self.executor.pack_size or self.how.pack_size

    @property
    def corrects(self) -> bool:
        """Whether any strength of the grid corrects at all."""
        return any(weight > 0.0 for weight, _ in self.strengths.grid())

    @property
    def where(self) -> Path | str:
        """Where results go: an absolute folder, or a URL."""
        folder = Path("runs") / self.name if self.folder is None else self.folder
        return folder.absolute() if isinstance(folder, Path) else folder

    @property
    def output(self) -> Path:
        """Absolute output folder; of a URL, that of its copy on this machine."""
        return self.where if isinstance(self.where, Path) else copy_folder(self.where)


def _listed(dial: Dial) -> Any:
    """What a dial proposes, as a configuration gives it."""
    if isinstance(dial.grid, Spaced):
        return {"low": dial.grid.low, "high": dial.grid.high, "count": dial.grid.count}
    return list(dial.grid)


if TYPE_CHECKING:
    SweepConfig = SweepKeys
else:
    SweepConfig = create_model(
        "SweepConfig",
        __base__=SweepKeys,
        __doc__="Everything a sweep is made of.",
        __module__=__name__,
        **{
            each.name: (
                each.settings,
                Field(default_factory=each.settings, description=f"Settings of trainer {each.name}: {each.summary}."),
            )
            for each in usable_trainers()
            if not hasattr(SweepKeys, each.name) and each.name not in SweepKeys.model_fields
        },
    )


def build_simulation(overrides: Sequence[str]) -> SimulationSpec:
    """A simulation from key=value overrides of its defaults; raises `ConfigError` naming the key."""
    return _from_overrides(SimulationSpec, overrides)


def build_image_simulation(overrides: Sequence[str]) -> ImageSimulationSpec:
    """A simulation of images from key=value overrides of its defaults; raises `ConfigError` naming the key."""
    return _from_overrides(ImageSimulationSpec, overrides)


def build_image_source(data: Mapping[str, Any], overrides: Sequence[str], source: str) -> ImageSource:
    """Where a screen's images are, from plain values and key=value overrides; raises `ConfigError` naming the key."""
    return with_overrides(_image_source, data, overrides, source)


def _image_source(given: Mapping[str, Any], source: str) -> ImageSource:
    layout = given.get("layout")
    if layout not in SOURCES:
        raise ConfigError(f"{source}: layout: expected one of {', '.join(SOURCES)}, got {layout!r}")
    return read(SOURCES[layout], given, source)


def load_image_source(path: Path, overrides: Sequence[str], given: Mapping[str, Any]) -> ImageSource:
    """The section `images` of a YAML file, with `given` keys added; its paths are relative to the file."""
    section = parse_yaml(read_text(path), str(path)).get("images")
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: no section 'images' (layout, path, …)")
    source = build_image_source({**section, **given}, overrides, f"{path}: images")
    return relative_to(source, path.absolute().parent)


def build_panel_options(overrides: Sequence[str]) -> PanelOptions:
    """Options of the metrics from key=value overrides of their defaults; raises `ConfigError` naming the key."""
    return _from_overrides(PanelOptions, overrides)


def validated(model: type[Model], data: Mapping[str, Any], source: str) -> Model:
    """The values as the model declares them; raises `ConfigError`, one line with `source` and the key."""
    try:
        return model.model_validate(listed(data, model))
    except ValidationError as error:
        raise ConfigError(one_line(error, source, model)) from None
    except (OverflowError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{source}: a value is beyond what a computer holds ({type(error).__name__})") from None


def read(model: type[Model], data: Mapping[str, Any], source: str) -> Model:
    """As `validated`, for what a user gives today: without infinite numbers and absurd sizes."""
    found = validated(model, data, source)
    check_limits(found, source)
    return found


def _from_overrides(model: type[Model], overrides: Sequence[str]) -> Model:
    return with_overrides(partial(read, model), {}, overrides, "--set")


def build_config(data: Mapping[str, Any], source: str) -> SweepConfig:
    """Validate plain values into a `SweepConfig`; raises `ConfigError` naming `source` and the key."""
    return validated(SweepConfig, data, source)


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> SweepConfig:
    """Read a sweep's YAML; paths of the screen become absolute, relative to the file. Raises `ConfigError`.

    >>> config = sweeper.load_config("sweep.yaml", ["seeds=5", "abra.steps=200"])
    >>> len(config.seeds), config.abra.steps
    (5, 200)
    """
    path = Path(path)
    data = parse_yaml(read_text(path), str(path))
    return with_overrides(
        lambda given, _: located(read(SweepConfig, given, str(path)), path), data, overrides, str(path)
    )


def located(config: SweepConfig, path: Path) -> SweepConfig:
    """A configuration that a user gave, with the paths in it taken from the folder of the file `path`.

    Raises:
        ConfigError: a name that leads elsewhere, or a grid that nobody would train.
    """
    check_name(config.name, str(path))
    check_cells(len(config.strengths.grid()), len(config.seeds), str(path))
    if config.screen is not None:
        absolute = (path.parent / config.screen.path).resolve()
        config = config.model_copy(update={"screen": config.screen.model_copy(update={"path": absolute})})
    base = path.absolute().parent
    changed: dict[str, Any] = {config.trainer: config.how.located(config.trainer_settings, base)}
    if config.images is not None:
        changed["images"] = relative_to(config.images, base)
    if config.frozen is not None:
        changed["frozen"] = config.frozen.located(base)
    return config.model_copy(update=changed)


def documented_keys(root: type[BaseModel] = SweepConfig) -> Iterator[tuple[str, str, str]]:
    """Every key with its default and its meaning: (dotted key, default, description)."""
    yield from _document(root, "")


def _document(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        marked = field.json_schema_extra
        if nested is not None:
            default = ""
        elif field.is_required():
            default = str(marked["default"]) if isinstance(marked, dict) else "required"
        else:
            default = repr(field.get_default(call_default_factory=True))
        yield f"{prefix}{name}", default, field.description or ""
        if nested is not None:
            yield from _document(nested, f"{prefix}{name}.")
