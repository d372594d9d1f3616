"""Where the images of a screen are, as a configuration says it: RxRx1-WILDS, RxRx1, or a plate folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trainers.screens.images.listing import Listing
from trainers.screens.images.plates import PlateFolder, list_plates

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


ImageSource = WildsSource | PlateSource
SOURCES: dict[str, type[WildsSource] | type[PlateSource]] = {
    "wilds": WildsSource,
    "rxrx1": PlateSource,
    "plates": PlateSource,
}


def list_source(source: ImageSource) -> Listing:
    """The listing of a source; raises InputError as its reader does."""
    if isinstance(source, PlateSource):
        return list_plates(source)
    from trainers.screens.images.wilds_rxrx1 import list_wilds  # imports torch

    return list_wilds(source.path, download=source.download, mixed_to_test=source.mixed_to_test)


def packed_folder(source: ImageSource) -> Path:
    """Where the source's packed screen is, or would be."""
    path = source.path.absolute()
    return source.packed or path.with_name(f"{path.name}-packed")


def relative_to(source: ImageSource, base: Path) -> ImageSource:
    """The source with its paths made absolute, relative ones starting from `base`."""
    packed = None if source.packed is None else (base / source.packed).absolute()
    return source.model_copy(update={"path": (base / source.path).absolute(), "packed": packed})


__all__ = ["SOURCES", "ImageSource", "PlateSource", "WildsSource", "list_source", "packed_folder", "relative_to"]
