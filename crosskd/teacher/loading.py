"""Loading a teacher's checkpoint strictly."""
from collections import OrderedDict

from torch import Tensor, nn


def classes_of(checkpoint: dict) -> tuple[str, ...] | None:
    """Names of the classes a checkpoint was trained on, where it says so."""
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    # mmdet 2 kept them in the meta itself
    dataset = {**meta, **(meta.get('dataset_meta') or {})}
    classes = dataset.get('classes', dataset.get('CLASSES'))
    return tuple(classes) if isinstance(classes, (list, tuple)) else None


def load_strictly(detector: nn.Module, checkpoint: dict, found: str,
                  config: str = 'teacher_config') -> None:
    """Load weights; missing, unexpected and misshapen keys are errors.

    ``found`` and ``config`` are the names of both for messages.
    """
    saved = checkpoint.get('state_dict', checkpoint)
    weights = OrderedDict(
        (str(k).removeprefix('module.'), v) for k, v in saved.items()
        if isinstance(v, Tensor)) if isinstance(saved, dict) else {}
    if not weights:
        raise ValueError(f'{found}: holds no weights (its keys: '
                         f'{sorted(map(str, checkpoint))[:8]})')
    own = detector.state_dict()
    misshapen = [
        f'{k} {tuple(v.shape)}, expected {tuple(own[k].shape)}'
        for k, v in weights.items() if k in own and v.shape != own[k].shape
    ]
    fitting = OrderedDict(
        (k, v) for k, v in weights.items()
        if k not in own or v.shape == own[k].shape)
    # layers decide by the version in it whether to rename old keys
    vars(fitting)['_metadata'] = getattr(saved, '_metadata', None)
    result = detector.load_state_dict(fitting, strict=False)
    # mmengine's own loader looks over these, too
    missing = [k for k in result.missing_keys
               if 'num_batches_tracked' not in k and k not in weights]
    problems = [
        _first_few(kind, keys) for kind, keys in (
            ('missing', missing),
            ('unexpected', result.unexpected_keys),
            ('misshapen', misshapen)) if keys
    ]
    if problems:
        raise ValueError(
            f'{found} does not fit the model of {config} '
            f'({type(detector).__name__}): ' + '; '.join(problems))


def _first_few(kind: str, keys: list[str], few: int = 3) -> str:
    more = f', … ({len(keys)} in all)' if len(keys) > few else ''
    return f'{len(keys)} {kind}: ' + ', '.join(keys[:few]) + more
