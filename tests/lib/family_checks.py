"""What the tests of single head families share."""
import math
import re

import torch
from downstream import SMALL, child
from helpers import METHODS, batch, build, plain_cfg, total
from tool_server import run as tool

from crosskd.engine.trial import try_pair

#: epochs of three steps of four images each, in which the losses fall
TRAINING = '''
model.update(teacher_config='teacher.py', teacher_ckpt='random')
optim_wrapper = dict(optimizer={{
    '_delete_': True, 'type': 'AdamW', 'lr': 2e-3, 'weight_decay': 0.01}})
log_processor = dict(window_size=1)
randomness = dict(seed=0)
auto_scale_lr = dict(enable=False)
param_scheduler = []
train_cfg = dict(max_epochs={0}, val_interval={0})
'''


def given_to(loss):
    """A list that gets arguments and keywords of each call of a loss."""
    calls = []
    loss.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append((args, kwargs)),
        with_kwargs=True)
    return calls


def padded_batch(boxes=(2, 3), seed=0):
    """A batch of which the second image is the upper half alone."""
    inputs, samples = batch(boxes, seed=seed)
    samples[1].set_metainfo(dict(pad_shape=(32, 96)))
    return inputs, samples


def by_level(targets):
    """Targets per level (N, P) as the heads' own losses are given them."""
    return torch.cat([level.flatten() for level in targets])


def check_method(kind, method):
    """A student learns by it, and its detection losses stay as they are."""
    model, plain = build(METHODS[method](kind)), build(plain_cfg(kind))
    plain.load_state_dict(model.state_dict())
    try_pair(model)
    losses = model.loss(*batch())
    own = total(plain.loss(*batch()))
    found = total(losses)
    assert {key: found[key] for key in own} == own
    extra = {key: value for key, value in found.items() if key not in own}
    assert extra and all(0 < value < math.inf for value in extra.values())
    sum(sum(losses[key]) for key in extra).backward()
    layer = model.neck.lateral_convs[0].conv.weight
    assert layer.grad.isfinite().all() and layer.grad.any()


def check_losses_fall(config, root, folder, teacher, changes='',
                      epochs=5):
    """A child of one of our configs, shrunk, trained by the tool.

    Args:
        config: in ``configs/crosskd``.
        root: with the generated images.
        folder: to work in.
        teacher: a config of mmdet that is shrunk for a teacher.
        changes: to ``model``, in both configs.
        epochs: of three steps.
    """
    (folder / 'teacher.py').write_text(
        f"_base_ = 'mmdet::{teacher}'\n{SMALL}{changes}")
    (folder / 'child.py').write_text(child(
        f'crosskd::crosskd/{config}', root / 'data/shapes',
        more=changes + TRAINING.format(epochs)))
    out = tool('train.py', 'child.py', cwd=folder)
    steps = [dict(re.findall(r'(loss\w*): ([\d.]+|nan|inf)', line))
             for line in out.splitlines() if 'Epoch(train)' in line]
    assert len(steps) == 3 * epochs
    values = {key: [float(step[key]) for step in steps] for key in steps[0]}
    assert all(math.isfinite(v) for of_key in values.values() for v in of_key)
    falls = {key: sum(v[-3:]) / sum(v[:3]) for key, v in values.items()
             if key.endswith('_kd') or key == 'loss'}
    assert {'loss', 'loss_cls_kd', 'loss_reg_kd'} <= falls.keys()
    # cross-entropy towards a score is never far from that score's entropy
    assert falls.pop('loss_center_kd', 0) < 1
    assert all(ratio < 0.95 for ratio in falls.values()), falls
    assert (folder / f'work_dirs/child/epoch_{epochs}.pth').is_file()
