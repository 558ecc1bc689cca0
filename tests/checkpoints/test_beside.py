"""Losses with parameters and buffers: trained, and beside the student."""
import copy

import pytest
import torch
from data_sets import Images
from helpers import SDD, batch, build, plain_cfg, sdd_cfg
from learned_losses import learned
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from torch import nn

from crosskd.checkpoints.auxiliary import auxiliary_state, load_auxiliary_state
from crosskd.engine.hooks.auxiliary_state import KEY

NAMES = ['distillers.predictions.loss_cls_kd.seen',
         'distillers.predictions.loss_cls_kd.sharpness']


def loss_of(model):
    return model.distillers.predictions.loss_cls_kd


def test_the_students_state_dict_is_its_own():
    """torch's and mmengine's, read and written, strictly and in wrappers."""
    model, plain = build(learned()), build(plain_cfg('gfl'))
    assert [n for n, _ in model.named_parameters() if 'distillers' in n] == [
        NAMES[1]]
    assert sorted(auxiliary_state(model)) == NAMES
    wrapped = nn.Sequential(model)
    for keys, prefix in ((model.state_dict(), ''), (get_state_dict(model), ''),
                         (wrapped.state_dict(), '0.')):
        assert list(keys) == [prefix + k for k in plain.state_dict()]
        assert not any('distillers' in k for k in keys._metadata)
    own = auxiliary_state(model)
    with torch.no_grad():
        own[NAMES[1]].fill_(3)
    assert not any(model.load_state_dict(plain.state_dict()))
    assert not any(wrapped.load_state_dict(nn.Sequential(plain).state_dict()))
    model.load_state_dict(plain.state_dict(), assign=True)
    load_state_dict(model, plain.state_dict(), strict=True)
    assert auxiliary_state(model)[NAMES[1]] is own[NAMES[1]] and own[
        NAMES[1]] == 3
    with pytest.raises(RuntimeError, match=r'Unexpected key.*distillers\.x'):
        model.load_state_dict({**plain.state_dict(), 'distillers.x': own[
            NAMES[1]]})


@pytest.mark.parametrize('cfg', [
    learned(), sdd_cfg('gfl', loss=dict(type='LearnedSDD'))])
def test_it_moves_and_is_trained_with_the_student(cfg):
    model = build(cfg).double()
    tensors = auxiliary_state(model).values()
    assert all(x.dtype == torch.float64 for x in tensors
               if x.is_floating_point())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs, samples = batch()
    model.parse_losses(model.loss(inputs.double(), samples))[0].backward()
    optimizer.step()
    assert all(x != 1 for x in tensors if x.is_floating_point())
    assert all(x.is_meta for x in auxiliary_state(model.to('meta')).values())


def test_a_copy_has_its_own():
    model = build(learned())
    clone = copy.deepcopy(model)
    assert loss_of(clone) is not loss_of(model)
    clone.loss(*batch())
    assert loss_of(clone).seen == 1 and loss_of(model).seen == 0
    load_auxiliary_state(model, auxiliary_state(clone), 'a copy')
    assert loss_of(model).seen == 1


def train(cfg, folder, epochs, **kwargs):
    """A whole or a resumed run, and its last checkpoint."""
    made = Runner(
        copy.deepcopy(cfg), str(folder),
        dict(dataset=Images(), batch_size=2, collate_fn=dict(
            type='pseudo_collate'), sampler=dict(
                type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_scope='mmdet', randomness=dict(seed=0), log_level='ERROR',
        custom_hooks=[
            dict(type=t) for t in (
                'RepeatableEpochsHook', 'AuxiliaryStateHook', 'EMAHook')],
        experiment_name='_'.join(folder.parts[-2:]) + str(kwargs), **kwargs)
    made.train()
    return made, torch.load(folder / f'epoch_{epochs}.pth',
                            weights_only=False)


def test_it_is_saved_under_its_own_key_and_resumed(tmp_path):
    """With momentum and averages; a file without it is no silent start."""
    whole, expected = train(learned(), tmp_path / 'whole', 2)
    _, half = train(learned(), tmp_path / 'parts', 1)
    assert sorted(half[KEY]) == sorted(half[f'ema_{KEY}']) == NAMES
    assert half[KEY][NAMES[1]] != half[f'ema_{KEY}'][NAMES[1]] != 1
    assert list(half['state_dict']) == list(build(plain_cfg('gfl'))
                                            .state_dict())
    start = tmp_path / 'parts/epoch_1.pth'
    resumed, got = train(learned(), tmp_path / 'parts', 2, resume=True,
                         load_from=str(start))
    for key in ('state_dict', 'ema_state_dict', KEY, f'ema_{KEY}'):
        torch.testing.assert_close(got[key], expected[key], rtol=0, atol=0)
    assert loss_of(resumed.model).seen == loss_of(whole.model).seen == 4
    average, = (h.ema_model.module for h in resumed.hooks
                if isinstance(h, EMAHook))
    assert auxiliary_state(average)[NAMES[1]] == expected[
        f'ema_{KEY}'][NAMES[1]]
    # a run that only starts from it learns them anew
    started, _ = train(learned(), tmp_path / 'start', 1, load_from=str(start))
    assert loss_of(started.model).seen == 2
    del half[KEY]
    torch.save(half, start)
    with pytest.raises(ValueError, match=f'{KEY} has no {NAMES[0]}'):
        train(learned(), tmp_path / 'lost', 2, resume=True,
              load_from=str(start))


def test_losses_without_any_leave_no_key(tmp_path):
    _, saved = train(sdd_cfg('gfl', loss=SDD), tmp_path / 'plain', 1)
    assert not {KEY, f'ema_{KEY}'} & saved.keys()
