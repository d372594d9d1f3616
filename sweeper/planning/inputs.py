"""What the trainer of a sweep is given of its screen."""

from __future__ import annotations

import numpy as np

from sweeper.config.sweep_config import SweepConfig
from trainers.base import FloatArray, Inputs
from trainers.screens.images.image_screen import ImageScreen
from trainers.screens.normalise import normalise
from trainers.screens.table import Screen


def trainer_features(config: SweepConfig, screen: Screen) -> FloatArray:
    """(n, d) what an encoder is given: the screen's features under the configured normalisation."""
    return normalise(np.asarray(screen.features), screen.wells, config.normalise)


def trainer_inputs(config: SweepConfig, screen: Screen, images: ImageScreen | None = None) -> Inputs:
    """The screen as the trainer reads it: `images` where it reads them, else the normalised features."""
    if images is not None:
        return Inputs(wells=images.wells, images=images.images)
    return Inputs(wells=screen.wells, features=trainer_features(config, screen))


__all__ = ["trainer_features", "trainer_inputs"]
