"""What the processes of the tests need not do again and again."""
import functools
import gc

from mmengine.config import utils


def fast_start():
    """Call it where everything is imported."""
    # mmengine reads mmdet's hundred metafiles for every 'mmdet::….py'
    utils.load = functools.cache(utils.load)
    # each data set collects garbage twice; what is imported is none
    gc.collect()
    gc.freeze()
