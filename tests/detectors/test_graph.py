"""What is recorded of the student must be what it learns by."""
import pytest
import torch
from experiments import experiment, model_cfg, write
from helpers import KINDS, SDD, batch, build, distiller_cfg, sdd_cfg, total
from mmengine.runner import activation_checkpointing
from tool_server import run as tool
from torch.utils.checkpoint import checkpoint

from crosskd.compat.activation_checkpointing import prepare_checkpointing

pytestmark = pytest.mark.torch_only

PLACES = ['backbone', 'neck', 'bbox_head', 'backbone.layer1',
          'bbox_head.cls_convs.0']


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """mmengine's own way, to which each test returns."""
    monkeypatch.setattr(activation_checkpointing, 'checkpoint', checkpoint)


def step(cfg, modules=(), prepare=True):
    model = build(cfg)
    if prepare:
        prepare_checkpointing(model, list(modules))
    activation_checkpointing.turn_on_activation_checkpointing(
        model, list(modules))
    losses = model.loss(*batch())
    model.parse_losses(losses)[0].backward()
    return total(losses), [p.grad for p in model.parameters()]


@pytest.mark.parametrize('cfg', [
    *(pytest.param(distiller_cfg(kind), marks=pytest.mark.slow)
      for kind in KINDS),
    *(distiller_cfg('gfl', reused_teacher_head_idx=i) for i in (0, 2)),
    sdd_cfg('gfl')])
def test_checkpointed_modules_learn_the_same(cfg):
    expected = step(cfg)
    assert all(g is not None for g in expected[1])
    for modules in (*([place] for place in PLACES), PLACES[:3]):
        torch.testing.assert_close(step(cfg, modules), expected)


@pytest.mark.filterwarnings('ignore')  # torch's advice on reentrance
def test_a_backbone_with_checkpoints_of_its_own_learns_the_same():
    cfg = distiller_cfg('gfl')
    expected = step(cfg)
    cfg['backbone']['with_cp'] = True
    torch.testing.assert_close(step(cfg), expected)


@pytest.mark.parametrize('cfg, place', [
    (cfg, place) for cfg in (distiller_cfg('gfl'), sdd_cfg('fcos'))
    for place in ('neck', 'bbox_head')])
@pytest.mark.filterwarnings('ignore')  # torch's, on the same
def test_mmengines_own_way_is_noticed_in_the_first_step(cfg, place):
    """Under mmdet's own tool, where nothing has prepared it."""
    with pytest.raises(RuntimeError, match=f'{place}.* no gradient: .*'
                       'activation_checkpointing'):
        step(cfg, [place], prepare=False)


@pytest.mark.filterwarnings('ignore')
def test_a_reentrant_tower_layer_is_noticed():
    """Intermediate features without a graph, outputs with one."""
    model = build(distiller_cfg('gfl'))
    forward = model.bbox_head.forward_single

    def cut(x, scale):  # as a reentrant checkpoint around both towers
        return checkpoint(forward, x, scale, use_reentrant=True)

    model.bbox_head.forward_single = cut
    with pytest.raises(RuntimeError, match='cls branch of bbox_h'):
        model.loss(*batch())


def test_hooks_that_are_passed_over_are_noticed():
    """As a layer's code that was compiled or inlined would."""
    model = build(distiller_cfg('gfl'))
    layer = model.bbox_head.reg_convs[0]
    calls = type(layer).__call__
    type(layer).__call__ = lambda self, *a: (
        self.forward(*a) if self is layer else calls(self, *a))
    try:
        with pytest.raises(RuntimeError, match='reg branch of bbox_head'
                           ': expected 3 .* found 0'):
            model.loss(*batch())
    finally:
        type(layer).__call__ = calls


@pytest.mark.parametrize('freeze', [
    ['backbone', 'neck'], ['backbone', 'neck', 'bbox_head.cls_convs.0'],
    ['bbox_head'], ['backbone', 'neck', 'bbox_head']])
def test_what_is_frozen_on_purpose_may_have_no_gradient(freeze):
    model = build(distiller_cfg('gfl', loss_sdd=SDD))
    for name in freeze:
        model.get_submodule(name).requires_grad_(False)
    model.loss(*batch())
    with torch.no_grad():
        model.requires_grad_(True).loss(*batch())


def test_names_are_checked(project, tmp_path):
    model = build(distiller_cfg('gfl'))
    for wrong in ('bbox_hed', 'bbox_head.cls_convs.7', 'bbox_head.strides'):
        with pytest.raises(ValueError, match=(
                'activation_checkpointing: CrossKDGFL has no module '
                f"'{wrong}'")):
            prepare_checkpointing(model, [wrong])
    with pytest.raises(TypeError, match='must be a list of module names'):
        prepare_checkpointing(model, 5)
    prepare_checkpointing(model, 'backbone')
    out = tool('train.py', 'distilled.py', '--work-dir', tmp_path,
               '--cfg-options', "activation_checkpointing=['head']",
               cwd=project, ok=False)
    assert "ValueError: activation_checkpointing: CrossKDGFL has no mod" in out
    assert not list(tmp_path.rglob('*.py'))


LEARNED = '''
import torch
from mmdet.registry import MODELS

from crosskd.losses import KDQualityFocalLoss


@MODELS.register_module()
class Learned(KDQualityFocalLoss):

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.sharpness = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, pred, *args, **kwargs):
        return super().forward(pred * self.sharpness, *args, **kwargs)
'''


def test_a_real_run_ends_with_the_same_weights(project, tmp_path):
    """Those of the losses, too."""
    (tmp_path / 'learned.py').write_text(LEARNED)
    cfg = experiment(model_cfg(distiller_cfg(
        'gfl', loss_cls_kd=dict(type='Learned'))), epochs=1)
    cfg['custom_imports']['imports'].append('learned')
    write(project / 'checkpointed.py', cfg)
    ends = []
    for option in ('activation_checkpointing=None',
                   "activation_checkpointing=['neck', 'bbox_head']"):
        folder = tmp_path / str(len(ends))
        out = tool('train.py', 'checkpointed.py', '--work-dir', folder,
                   '--cfg-options', option, cwd=project,
                   env=dict(PYTHONPATH=str(tmp_path)))
        assert ('Enabling the "activation' in out) == bool(ends)
        saved = torch.load(folder / 'epoch_1.pth', weights_only=False)
        ends.append((saved['state_dict'], saved['distillation_state_dict']))
    torch.testing.assert_close(*ends)
    (learnt, ), = (e.values() for _, e in ends[:1])
    assert learnt != 1
