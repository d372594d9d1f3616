"""Where the images of a screen are, as a configuration says it: RxRx1-WILDS, RxRx1, or a plate folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from trainers.screens.images.plate_folder import PlateFolder
from trainers.screens.place import checked_url, is_url

if TYPE_CHECKING:
    from trainers.screens.images.listing import Listing

_PACKED = "Folder of the packed screen; none: <path>-packed."


class WildsSource(BaseModel):
    """RxRx1-WILDS, read by the `wilds` package."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal["wilds"] = Field(default="wilds", description="How the files are laid out.")
    path: Path = Field(description="The folder that holds rxrx1_v1.0 (`root_dir` of the wilds package).")
    packed: Path | None = Field(default=None, description=_PACKED)
    download: bool = Field(default=False, description="Let the wilds package download what is absent (7.4 GB).")
    mixed_to_test: bool = Field(
        default=False, description="Also read the mixed-to-test splits, into the column split_mixed_to_test."
    )


class PlateSource(PlateFolder):
    """RxRx1 with 6 channels, or any plate folder with a metadata table."""

    layout: Literal["rxrx1", "plates"] = Field(default="plates", description="How the files are laid out.")
    packed: Path | None = Field(default=None, description=_PACKED)


class PackedImages(BaseModel):
    """A screen that is packed already, wherever its files were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    packed: Path | str = Field(description="Folder of a packed screen, or its URL (s3://bucket/folder).")

    @field_validator("packed", mode="before")
    @classmethod
    def _check_packed(cls, packed: Any) -> Any:
        """A URL that is one, or a path."""
        if is_url(packed):
            return checked_url(packed)
        return Path(packed) if isinstance(packed, str) else packed


ImageSource = WildsSource | PlateSource
SOURCES: dict[str, type[WildsSource] | type[PlateSource]] = {
    "wilds": WildsSource,
    "rxrx1": PlateSource,
    "plates": PlateSource,
}


def _layout(given: Any) -> str | None:
    """Which of the sources is meant: by its layout; without one, the packed folder alone."""
    if isinstance(given, BaseModel):
        return "packed" if isinstance(given, PackedImages) else str(given.__dict__["layout"])
    if not isinstance(given, dict):
        return None
    return given.get("layout") if "layout" in given or "path" in given else "packed"


ImageInput = Annotated[
    Annotated[PackedImages, Tag("packed")]
    | Annotated[WildsSource, Tag("wilds")]
    | Annotated[PlateSource, Tag("rxrx1")]
    | Annotated[PlateSource, Tag("plates")],
    Discriminator(
        _layout,
        custom_error_type="images",
        custom_error_message="give `packed: FOLDER`, or `layout` (wilds, rxrx1 or plates) with `path`",
    ),
]
"""Images of a sweep: a packed folder, or the section that `sweeper pack` reads."""


def list_source(source: ImageSource) -> Listing:
    """The listing of a source; raises InputError as its reader does."""
    if isinstance(source, PlateSource):
        from trainers.screens.images.plates import list_plates

        return list_plates(source)
    from trainers.screens.images.wilds_rxrx1 import list_wilds  # imports torch

    return list_wilds(source.path, download=source.download, mixed_to_test=source.mixed_to_test)


def packed_folder(source: ImageSource | PackedImages) -> Path:
    """Where the source's packed screen is, or would be; of a URL, its copy on this machine, which is fetched."""
    if isinstance(source, PackedImages):
        if isinstance(source.packed, Path):
            return source.packed.absolute()
        from trainers.screens.images.packed_places import packed_copy

        return packed_copy(source.packed)
    path = source.path.absolute()
    return source.packed or path.with_name(f"{path.name}-packed")


Source = TypeVar("Source", ImageSource, ImageSource | PackedImages)


def relative_to(source: Source, base: Path) -> Source:
    """The source with its paths made absolute, relative ones starting from `base`."""
    if isinstance(source, PackedImages):
        if isinstance(source.packed, str):
            return source
        return source.model_copy(update={"packed": (base / source.packed).absolute()})
    packed = None if source.packed is None else (base / source.packed).absolute()
    return source.model_copy(update={"path": (base / source.path).absolute(), "packed": packed})


__all__ = [
    "SOURCES",
    "ImageInput",
    "ImageSource",
    "PackedImages",
    "PlateSource",
    "WildsSource",
    "list_source",
    "packed_folder",
    "relative_to",
]
