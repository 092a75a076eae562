"""Segment everything: a picture becomes the records of all its masks, without a prompt.

Read `generator` for the whole job, `candidates` for one crop of it, `config` for the settings.
"""

from opensam.amg.config import PRESETS, AmgConfig, preset_of
from opensam.amg.generator import MaskGenerator

__all__ = ["PRESETS", "AmgConfig", "MaskGenerator", "preset_of"]
