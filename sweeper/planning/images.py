"""Images in a sweep: the packed screen of a configuration, and the ordinary table of features that stands for it.

The table goes through the store, the controls and the reference lines as profiles do. With `frozen` it holds the
backbone's features, and the encoder that is swept reads it too; where the images themselves are trained on, it holds
each channel's mean, spread and quantiles, and a trial reads the pixels from the packed folder. Tables are made once and
kept in the packed folder, under `features`, named by what they depend on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.config.sweep_config import SweepConfig
from sweeper.errors import InputError, StoreMismatchError
from trainers.base import FloatArray, Pack, TrainingCell
from trainers.screens.images.image_screen import ImageScreen
from trainers.screens.images.manifest import open_packed, read_manifest
from trainers.screens.images.source import PackedImages, packed_folder
from trainers.screens.table import Screen, codes

if TYPE_CHECKING:
    from trainers.images.image_settings import ImageAbraSettings
    from trainers.images.inputs import RowReader

FEATURES = "features"


def open_images(config: SweepConfig, *, expected: str | None = None) -> ImageScreen:
    """The packed screen that the configuration names.

    Args:
        expected: fingerprint that it must have; None: any.

    Raises:
        InputError: there is none, or the images are not packed yet.
        StoreMismatchError: another screen was packed into the folder.
    """
    source = config.images
    assert source is not None  # noqa: S101 - the caller asks for images
    folder = packed_folder(source)
    if not isinstance(source, PackedImages) and read_manifest(folder) is None:
        if not source.path.exists():
            raise InputError(f"images.path: {source.path} does not exist; put the images there, or name their folder")
        raise InputError(f"images: {source.path} is not packed yet; run `sweeper pack` with this configuration first")
    screen = open_packed(folder)
    if expected is not None and screen.fingerprint != expected:
        raise StoreMismatchError(
            f"{folder}: holds another screen ({screen.fingerprint[:19]}…) than the sweep began with "
            f"({expected[:19]}…); pack the first one again, or sweep into another folder"
        )
    return screen


def bare_screen(config: SweepConfig, images: ImageScreen) -> Screen:
    """The wells of the images without any feature, (n, 0): what a dry run needs. Nothing is embedded or written.

    Raises:
        InputError: an unknown backbone, weights that are absent, or images that they do not fit.
    """
    if config.frozen is not None:
        from trainers.images.frozen import feature_width

        feature_width(images.images, config.frozen.image_settings)
    return Screen(np.empty((len(images), 0), np.float32), (), images.wells)


def feature_screen(config: SweepConfig, images: ImageScreen) -> Screen:
    """The wells of the images with a table of features: the frozen backbone's, else each channel's statistics.

    Raises:
        InputError: an unknown backbone, weights that are absent, or a packed folder that cannot be written to.
    """
    assert config.images is not None  # noqa: S101
    folder = packed_folder(config.images) / FEATURES
    try:
        if config.frozen is None:
            names, features = _channel_statistics(images, folder)
        else:
            features = _frozen_features(config, images, folder)
            names = tuple(f"f{number:04d}" for number in range(features.shape[1]))
    except OSError as error:
        raise InputError(f"{folder}: cannot keep the images' features there ({error.strerror})") from None
    return Screen(features, names, images.wells)


def _frozen_features(config: SweepConfig, images: ImageScreen, folder: Path) -> FloatArray:
    from trainers.images.frozen import frozen_features

    frozen = config.frozen
    assert frozen is not None  # noqa: S101
    return frozen_features(
        images.images,
        frozen.image_settings,
        fingerprint=images.fingerprint,
        folder=folder,
        seed=frozen.seed,
        device=frozen.device,
    )


def _channel_statistics(images: ImageScreen, folder: Path) -> tuple[tuple[str, ...], FloatArray]:
    from trainers.images.simple import channel_statistics, statistic_names

    path = folder / f"channel-statistics-{images.fingerprint.removeprefix('sha256:')[:24]}.npy"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        unfinished = path.with_name(f".{path.stem}.{os.getpid()}.npy")
        try:
            np.save(unfinished, channel_statistics(images.images), allow_pickle=False)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return statistic_names(images.channels), np.load(path, mmap_mode="r", allow_pickle=False)


def image_identity(config: SweepConfig) -> dict[str, Any]:
    """The trainer's settings as the sweep's identity holds them: weight files by their content, not by their path.

    Raises:
        InputError: an unknown backbone (the nearest names are offered), or weights that are not on disk.
    """
    settings: dict[str, Any] = config.trainer_settings.model_dump(mode="json")
    if config.frozen is None:
        return {**settings, "weights": _weights_hash(config.abra_images)}
    frozen = config.frozen.model_dump(mode="json", exclude={"device", "seed"})
    weights = _weights_hash(config.frozen.image_settings)
    return {**settings, "frozen": {**frozen, "weights": weights or f"random, seed {config.frozen.seed}"}}


def _weights_hash(settings: ImageAbraSettings) -> str | None:
    from trainers.images.backbones import check_backbone
    from trainers.images.weights import file_hash, weights_file

    check_backbone(settings.backbone)
    if settings.weights is None:
        return None
    return f"sha256:{file_hash(weights_file(settings.backbone, settings.weights))}"


def image_pack(
    config: SweepConfig,
    images: ImageScreen,
    cells: list[TrainingCell],
    *,
    reader: RowReader | None = None,
    device: str,
    threads: int,
) -> Pack:
    """The image trainer on a packed screen; raises InputError where settings, backbone and images do not fit."""
    from trainers.images.image_pack import ImagePack

    return ImagePack(
        images.images,
        codes(images.wells["perturbation"]),
        codes(images.wells["batch"]),
        cells,
        config.abra_images,
        reader=reader,
        device=device,
        threads=threads,
    )


__all__ = ["bare_screen", "feature_screen", "image_identity", "image_pack", "open_images"]
