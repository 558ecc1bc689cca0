"""Distillers: one registered module for each thing that is distilled."""
from ..losses.logit_maps import LogitMaps
from .base import Distiller, Distillers
from .box_regions import box_regions
from .features import FeatureDistiller
from .map_regions import map_regions
from .predictions import PredictionDistiller
from .regions import RegionDistiller

__all__ = [
    'Distiller', 'Distillers', 'FeatureDistiller', 'LogitMaps',
    'PredictionDistiller', 'RegionDistiller', 'box_regions', 'map_regions'
]
