"""A distiller and a plain detector that begin with the same weights."""
import pytest
from helpers import build, distiller_cfg, plain_cfg, sdd_cfg

CFGS = dict(
    crosskd=(distiller_cfg('gfl'), plain_cfg('gfl')),
    sdd=(sdd_cfg('fcos', loss=dict(warmup_iters=3)), plain_cfg('fcos')))
both = pytest.mark.parametrize('method', CFGS)


def pair(method, training=False):
    """A distiller and a plain detector with the same weights."""
    model, plain = (build(cfg, joins=training) for cfg in CFGS[method])
    if training:
        model.init_weights()
    plain.load_state_dict(model.state_dict())
    return model, plain
