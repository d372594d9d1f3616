"""Images in a sweep: the packed screen of a configuration, and the ordinary table of features that stands for it.

The table goes through the store, the controls and the reference lines as profiles do. With `frozen` it holds the
backbone's features, and the encoder that is swept reads it too; where the images themselves are trained on, it holds
each channel's mean, spread and quantiles, and a trial reads the pixels from the packed folder. Tables are made once and
kept in the packed folder, under `features`, named by what they depend on.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from sweeper.config.sweep_config import SweepConfig
from sweeper.errors import InputError, StoreMismatchError
from trainers.base import FloatArray
from trainers.image_features import pixel_statistic_names, pixel_statistics
from trainers.screens.images.image_screen import ImageScreen
from trainers.screens.images.manifest import open_packed, read_manifest
from trainers.screens.images.source import PackedImages, packed_folder
from trainers.screens.table import Screen

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
        config.frozen.width(images.images)
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
            features = config.frozen.features(images.images, fingerprint=images.fingerprint, folder=folder)
            names = tuple(f"f{number:04d}" for number in range(features.shape[1]))
    except OSError as error:
        raise InputError(f"{folder}: cannot keep the images' features there ({error.strerror})") from None
    return Screen(features, names, images.wells)


def _channel_statistics(images: ImageScreen, folder: Path) -> tuple[tuple[str, ...], FloatArray]:
    path = folder / f"channel-statistics-{images.fingerprint.removeprefix('sha256:')[:24]}.npy"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        unfinished = path.with_name(f".{path.stem}.{os.getpid()}.npy")
        try:
            np.save(unfinished, pixel_statistics(images.images), allow_pickle=False)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return pixel_statistic_names(images.channels), np.load(path, mmap_mode="r", allow_pickle=False)


__all__ = ["bare_screen", "feature_screen", "open_images"]
