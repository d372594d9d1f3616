"""The configuration of a sweep: YAML in, one frozen value out; every key is documented where it is declared."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from sweeper.arms.rungs import Ladder, resolve
from sweeper.config.sections import (
    ConfirmArm,
    ExecutorOptions,
    FrozenBackbone,
    LocateSearch,
    OptunaSearch,
    PseudoArm,
    Section,
    ShamArm,
    Strengths,
    TrackingOptions,
    counted_seeds,
)
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.errors import ConfigError
from sweeper.metrics.evaluation import PanelOptions
from trainers.abra.abra_settings import AbraSettings
from trainers.images.image_settings import PRETRAINED, ImageAbraSettings
from trainers.screens.images.image_simulation import ImageSimulationSpec
from trainers.screens.images.source import SOURCES, ImageInput, ImageSource, relative_to
from trainers.screens.screen_spec import ScreenSpec
from trainers.screens.simulated_screen import SimulationSpec
from trainers.screens.splits import ViewSpec

Model = TypeVar("Model", bound=BaseModel)

IMAGE_CELLS_A_PACK = 4
"""A pack of image cells saves their start-up alone, and a lost worker loses what its cell had trained."""


class SweepConfig(Section):
    """Everything a sweep is made of."""

    name: str = Field(
        min_length=1, max_length=200, description="Name of the sweep: title of the report, MLflow run name."
    )
    folder: Path | None = Field(
        default=None, description="Output folder; none: runs/<name>. Relative to where you are."
    )
    screen: ScreenSpec | None = Field(default=None, description="The screen to read. Paths are relative to this file.")
    simulate: SimulationSpec | None = Field(default=None, description="A simulated screen instead of `screen`.")
    images: ImageInput | None = Field(
        default=None,
        description="Images instead of `screen`: {packed: FOLDER}, or the section that `sweeper pack` packs from "
        "(`sweeper pack --keys`). They must be packed.",
    )
    frozen: FrozenBackbone | None = Field(
        default=None, description="With images and trainer abra: the backbone that embeds them once."
    )
    normalise: Literal["none", "batch", "plate", "plate_controls"] = Field(
        default="none",
        description="Input normalisation of the screen: per batch, per plate, or by each plate's controls.",
    )
    views: tuple[ViewSpec, ...] = Field(min_length=1, description="Evaluation views; each is scored on its own.")
    held_out_perturbations: float = Field(
        default=0.0, ge=0, lt=1, description="Share of perturbations no encoder sees; profiling and retrieval use them."
    )
    trainer: Literal["abra", "abra_images"] = Field(
        default="abra",
        description="What is trained: abra, an encoder of profiles; abra_images, a timm backbone. Its settings stand "
        "under its name.",
    )
    abra: AbraSettings = Field(default_factory=AbraSettings, description="Settings of the ABRA reconstruction.")
    abra_images: ImageAbraSettings = Field(
        default_factory=ImageAbraSettings, description="Settings of the ABRA reconstruction on images."
    )
    strengths: Strengths = Field(default_factory=Strengths, description="The grid of correction strengths.")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 1, 2, 3, 4),
        min_length=1,
        description="Seeds; each means split + initialisation + order. A number n: 0..n-1.",
    )
    search: Literal["optuna", "locate"] = Field(
        default="optuna", description="What proposes strengths after the grid: optuna, or locate (see there)."
    )
    optuna: OptunaSearch = Field(default_factory=OptunaSearch, description="Strengths proposed by Optuna, in rounds.")
    locate: LocateSearch = Field(
        default_factory=LocateSearch, description="Strengths and seeds placed where the point is believed to lie."
    )
    sham: ShamArm = Field(default_factory=ShamArm, description="The sham arm: over-correction or training damage?")
    pseudo: PseudoArm = Field(
        default_factory=PseudoArm, description="The pseudo-batch arm: what a correction for nothing costs."
    )
    confirm: ConfirmArm = Field(default_factory=ConfirmArm, description="The bounds again on fresh seeds.")
    ladder: Ladder | None = Field(
        default=None, description="The trainer built up rung by rung on the same splits and seeds, beside the sweep."
    )
    metrics: tuple[str, ...] | None = Field(
        default=None, description="Metrics of the panel; none: those that decide and the cheap ones beside them."
    )
    panel: PanelOptions = Field(default_factory=PanelOptions, description="Options of the metrics.")
    decision: DecisionSettings = Field(description="What decides, declared before the sweep.")
    executor: ExecutorOptions = Field(default_factory=ExecutorOptions, description="How packs are run.")
    tracking: TrackingOptions = Field(default_factory=TrackingOptions, description="The MLflow mirror.")

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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(given is not None for given in (self.screen, self.simulate, self.images)) != 1:
            raise ValueError("give one of `screen` (a file), `simulate` and `images` (packed), and only one")
        self._check_images()
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
        """Refuse a trainer, a backbone or dials that do not fit what is read."""
        trains = self.trainer == "abra_images"
        if trains and self.images is None:
            raise ValueError("trainer: abra_images trains on images; give `images`, or trainer: abra for profiles")
        if trains and self.frozen is not None:
            raise ValueError("frozen: embeds the images for trainer abra; abra_images trains its backbone, take one")
        if self.frozen is not None and self.images is None:
            raise ValueError("frozen: embeds images; give `images`")
        if self.images is not None and not trains and self.frozen is None:
            raise ValueError(
                "trainer: abra reads profiles; with `images` give `frozen: {backbone: …}` (embedded once), or "
                "trainer: abra_images"
            )
        if not trains:
            return
        if self.normalise != "none":
            raise ValueError(f"normalise: {self.normalise} is for profiles; abra_images standardises each image")
        if self.abra_images.head == "linear" and set(self.strengths.margin) != {0.0}:
            raise ValueError("strengths.margin: abra_images.head = linear has no margin; give margin: [0]")

    def _check_ladder(self, ladder: Ladder, views: Sequence[str]) -> None:
        """Refuse a view that is not there, and rungs that do not fit."""
        if ladder.view is not None and ladder.view not in views:
            raise ValueError(f"ladder.view: '{ladder.view}' is not among the views ({', '.join(views)})")
        if "batch" not in self.panel.units:
            raise ValueError("panel.units: the ladder is read by batch; name batch among them")
        try:
            resolve(ladder, self.trainer_settings)
        except ValueError as error:
            raise ValueError(f"ladder.rungs: {error}") from None

    @property
    def trainer_settings(self) -> AbraSettings | ImageAbraSettings:
        """The settings of the trainer that is swept."""
        return self.abra_images if self.trainer == "abra_images" else self.abra

    @property
    def pack_size(self) -> int | None:
        """Cells of a pack; None: as many as keep the workers busy. Images train one cell after another: few."""
        images = IMAGE_CELLS_A_PACK if self.trainer == "abra_images" else None
        return self.executor.pack_size or images

    @property
    def output(self) -> Path:
        """Absolute output folder."""
        return (self.folder if self.folder is not None else Path("runs") / self.name).absolute()


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice (plain YAML keeps the last one in silence)."""


def _mapping_without_repeats(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", key_node.start_mark)
        seen.add(key)
    return dict(loader.construct_mapping(node, deep=True))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Parse safe YAML whose top level is a mapping; errors name `source` and the line."""
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{source}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: expected keys and values at the top level, got {type(data).__name__}")
    return data


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def _known_keys(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Keys of the section that holds `location`, for a suggestion."""
    model: Any = root
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        if field is None:
            return []
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(model.model_fields) if hasattr(model, "model_fields") else []


def _first_line(error: ValidationError, source: str, root: type[BaseModel] = SweepConfig) -> str:
    """One line for the error that says most."""
    # Of a union the branch that got deepest is the one that was meant.
    first = next((e for e in error.errors() if e["type"] == "extra_forbidden"), None)
    first = first or max(error.errors(), key=lambda e: len(e["loc"]))
    location = tuple(
        part
        for number, part in enumerate(first["loc"])
        if not (isinstance(part, str) and ("[" in part or part == "LogRange"))
        and not (number == 1 and first["loc"][0] == "images")  # the layout, as pydantic names the branch of the union
    )
    key = ".".join(str(part) for part in location) or "top level"
    if first["type"] == "extra_forbidden":
        text = f"unknown key '{key}'{_nearest(str(location[-1]), _known_keys(root, location))}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] in {"value_error", "missing"} else f", got {first['input']!r}"
        text = f"{key}: {message}{given}"
    return f"{source}: {text}"


def build_simulation(overrides: Sequence[str]) -> SimulationSpec:
    """A simulation from key=value overrides of its defaults; raises `ConfigError` naming the key."""
    return _from_overrides(SimulationSpec, overrides)


def build_image_simulation(overrides: Sequence[str]) -> ImageSimulationSpec:
    """A simulation of images from key=value overrides of its defaults; raises `ConfigError` naming the key."""
    return _from_overrides(ImageSimulationSpec, overrides)


def build_image_source(data: Mapping[str, Any], overrides: Sequence[str], source: str) -> ImageSource:
    """Where a screen's images are, from plain values and key=value overrides; raises `ConfigError` naming the key."""
    given = apply_overrides(dict(data), overrides)
    layout = given.get("layout")
    if layout not in SOURCES:
        raise ConfigError(f"{source}: layout: expected one of {', '.join(SOURCES)}, got {layout!r}")
    model = SOURCES[layout]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ConfigError(_first_line(error, source, model)) from None


def load_image_source(path: Path, overrides: Sequence[str], given: Mapping[str, Any]) -> ImageSource:
    """The section `images` of a YAML file, with `given` keys added; its paths are relative to the file."""
    section = parse_yaml(_read_text(path), str(path)).get("images")
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: no section 'images' (layout, path, …)")
    source = build_image_source({**section, **given}, overrides, f"{path}: images")
    return relative_to(source, path.absolute().parent)


def build_panel_options(overrides: Sequence[str]) -> PanelOptions:
    """Options of the metrics from key=value overrides of their defaults; raises `ConfigError` naming the key."""
    return _from_overrides(PanelOptions, overrides)


def _from_overrides(model: type[Model], overrides: Sequence[str]) -> Model:
    try:
        return model.model_validate(apply_overrides({}, overrides))
    except ValidationError as error:
        raise ConfigError(_first_line(error, "--set", model)) from None


def build_config(data: Mapping[str, Any], source: str) -> SweepConfig:
    """Validate plain values into a `SweepConfig`; raises `ConfigError` naming `source` and the key."""
    try:
        return SweepConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_first_line(error, source)) from None


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys, `abra.steps=200`; the value is YAML. Raises `ConfigError` for what is not key=value."""
    merged: dict[str, Any] = dict(data)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {override}: expected key=value, e.g. --set abra.steps=200")
        *path, last = key.split(".")
        node = merged
        for part in path:
            child = node.get(part)
            node[part] = dict(child) if isinstance(child, Mapping) else {}
            node = node[part]
        node[last] = yaml.safe_load(text)
    return merged


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> SweepConfig:
    """Read a sweep's YAML; paths of the screen become absolute, relative to the file. Raises `ConfigError`.

    >>> config = sweeper.load_config("sweep.yaml", ["seeds=5", "abra.steps=200"])
    >>> len(config.seeds), config.abra.steps
    (5, 200)
    """
    path = Path(path)
    config = build_config(apply_overrides(parse_yaml(_read_text(path), str(path)), overrides), str(path))
    if config.screen is not None:
        absolute = (path.parent / config.screen.path).resolve()
        config = config.model_copy(update={"screen": config.screen.model_copy(update={"path": absolute})})
    if config.images is None:
        return config
    base = path.absolute().parent
    changed: dict[str, Any] = {"images": relative_to(config.images, base)}
    for name in ("frozen", "abra_images"):
        section = getattr(config, name)
        if section is not None and section.weights not in (None, PRETRAINED):
            weights = str((base / Path(section.weights).expanduser()).absolute())
            changed[name] = section.model_copy(update={"weights": weights})
    return config.model_copy(update=changed)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot read the configuration: {reason}") from None


def documented_keys(root: type[BaseModel] = SweepConfig) -> Iterator[tuple[str, str, str]]:
    """Every key with its default and its meaning: (dotted key, default, description)."""
    yield from _document(root, "")


def _document(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        default = (
            "required" if field.is_required() else "" if nested else repr(field.get_default(call_default_factory=True))
        )
        yield f"{prefix}{name}", default, field.description or ""
        if nested is not None:
            yield from _document(nested, f"{prefix}{name}.")
