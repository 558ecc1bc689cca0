"""The regions of a dense head's logit maps that SDD distils."""
from .box import POINTS, box_regions
from .logit_maps import LogitMaps
from .map import map_regions

REGIONS = dict(map=map_regions, box=box_regions)

__all__ = ['POINTS', 'REGIONS', 'LogitMaps', 'box_regions', 'map_regions']
