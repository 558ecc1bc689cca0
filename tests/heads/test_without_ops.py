"""Heads that need compiled ops, where mmcv has none."""
import pytest
from experiments import experiment, model_cfg, write
from families import FAMILY
from helpers import GIOU, build, distiller_cfg
from tool_output import errors, written
from tool_server import run as tool

from crosskd.compat.mmcv_ext import is_installed
from crosskd.engine.trial import try_pair

pytestmark = pytest.mark.skipif(
    not is_installed(), reason='mmcv has compiled ops')
# where the first of the ops is
PLACES = dict(vfnet='bbox_head.vfnet_reg_refine_dconv', tood='bbox_head',
              ddod='bbox_head.cls_convs.0.conv')
CASES = [(kind, whose) for kind in PLACES for whose in ('student', 'teacher')]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in CASES
        if case != ('vfnet', 'teacher')]


def pair(kind, whose):
    """A student with that head, or a GFL student of such a teacher."""
    if whose == 'student':
        cfg = distiller_cfg(kind)
        owner = cfg
    else:
        cfg = distiller_cfg(
            'gfl', teacher_kind=kind, loss_reg_kd=GIOU,
            reused_teacher_head_idx=(1, FAMILY[kind].split))
        owner = cfg['teacher_config']['model']
    if not FAMILY[kind].compiled:
        owner['bbox_head']['use_dcn'] = True
    key = 'model' if whose == 'student' else 'teacher_config.model'
    return cfg, f'{key}.{PLACES[kind]}: '


def check(error, key):
    assert error.startswith(key), error
    assert "mmcv op 'deform_conv_forward'" in error
    assert 'Install an mmcv that was built with MMCV_WITH_OPS=1' in error


@pytest.mark.parametrize('kind, whose', CASES)
def test_the_trial_names_the_head_and_the_op(kind, whose):
    cfg, key = pair(kind, whose)
    with pytest.raises(ValueError) as caught:
        try_pair(build(cfg))
    check(str(caught.value), key)


@pytest.mark.parametrize('kind, whose', [('vfnet', 'teacher'), *SLOW])
def test_nothing_is_written(kind, whose, shapes_root, tmp_path):
    cfg, key = pair(kind, whose)
    write(tmp_path / 'pair.py', experiment(model_cfg(cfg), epochs=1))
    out = tool('train.py', tmp_path / 'pair.py', '--work-dir',
               tmp_path / 'run', cwd=shapes_root, ok=False)
    said, = errors(out)
    check(said.removeprefix('ValueError: '), key)
    assert not written(tmp_path / 'run')
