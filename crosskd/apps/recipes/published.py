"""The published weights of a package's config, from its metafile."""
import mmengine.hub


def published_weights(config: str) -> str | None:
    """The URL of the weights that a package publishes for its config.

    Args:
        config: such as ``'mmdet::gfl/gfl_r50_fpn_1x_coco.py'``.

    Returns:
        str | None: a URL; None if the config is not one of a package, or
        the package's metafile names no weights for it.
    """
    if '::' not in config:
        return None
    try:
        cfg = mmengine.hub.get_config(config, pretrained=True)
    except (AssertionError, ImportError, OSError, ValueError):
        return None
    return cfg.model_path
