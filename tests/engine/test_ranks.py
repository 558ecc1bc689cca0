"""Two gloo ranks: what they share of losses, norms and checkpoints."""
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import batch, build, distiller_cfg, plain_cfg, wide_teacher
from learned_losses import learned
from mmdet.engine.hooks import SyncNormHook
from mmengine.optim import OptimWrapper
from ranks import SIZE, wrapped
from torch import nn
from torch.testing import assert_close

from crosskd.checkpoints.auxiliary import auxiliary_state
from crosskd.engine.resuming import choose_checkpoint, on_all_ranks

# -- losses with parameters --------------------------------------------------


def train_losses(rank):
    """Steps on other images; parameters of the losses and all others."""
    model = wrapped(build(learned()))
    optim = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9))
    for step in range(5):
        images, samples = batch((2, ), SIZE, seed=2 * step + rank)
        model.train_step(dict(inputs=list(images * 50 + 120),
                              data_samples=samples), optim)
    return {n: p.detach() for n, p in model.module.named_parameters()}


@pytest.mark.slow
def test_parameters_of_losses_are_those_of_all_ranks(ranks):
    ours, theirs = ranks(train_losses)
    assert_close(ours, theirs, rtol=0, atol=0)
    assert ours['distillers.predictions.loss_cls_kd.sharpness'] != 1


# -- norms -------------------------------------------------------------------


def synchronize(rank):
    """Norms of each rank's own images, before and after the hook."""
    model = wrapped(build(wide_teacher(distiller_cfg('yolox', adapter=dict(
        type='ConvModule', kernel_size=1, norm_cfg=dict(type='BN'))))).train())
    bare = model.module
    model(*batch((2, 1), seed=rank), mode='loss')

    def states():
        return [
            {k: v.detach().clone() for k, v in state.items()}
            for state in (bare.state_dict(), auxiliary_state(bare),
                          bare.teacher.detector.state_dict())]

    before = states()
    SyncNormHook().before_val_epoch(SimpleNamespace(model=model))
    return before, states()


@pytest.mark.slow
def test_norms_are_averaged_before_validation(ranks):
    """``SyncNormHook``: the student's; not the adapters' or the teacher's."""
    (one, mean), (other, same) = ranks(synchronize)
    changed = set()
    for key, value in mean[0].items():
        assert torch.equal(value, same[0][key])
        wanted = (one[0][key].double() + other[0][key]) / 2
        torch.testing.assert_close(value.double(), wanted)
        if not torch.equal(value, one[0][key]):
            changed.add(key)
    assert changed == {key for key in mean[0]
                       if key.endswith(('running_mean', 'running_var'))}
    plain = build(plain_cfg('yolox'))
    plain.load_state_dict(mean[0])
    assert any('running_mean' in key for key in mean[1])
    for before, after in ((one, mean), (other, same)):
        for kind in (1, 2):
            assert before[kind] and before[kind].keys() == after[kind].keys()
            assert all(torch.equal(after[kind][k], v)
                       for k, v in before[kind].items())


# -- resuming ----------------------------------------------------------------


def resume(rank, folders):
    """What a Runner resumes from, in a folder of this rank's own."""
    os.chdir(folders[rank])
    model = nn.Linear(1, 1)

    def load():
        if not Path(chosen).is_file():
            raise FileNotFoundError(f'{chosen} is not here')
        model.load_state_dict(torch.load(chosen)['state_dict'])

    try:
        chosen = choose_checkpoint('runs')
        on_all_ranks(load, f'--resume={chosen!r}')
    except Exception as e:
        return f'{type(e).__name__}: {e}'
    return chosen, float(model.weight)


def checkpoints(folder, *epochs):
    (folder / 'runs').mkdir(parents=True)
    for epoch in epochs:
        layer = nn.Linear(1, 1)
        nn.init.constant_(layer.weight, epoch)
        torch.save(dict(meta=dict(iter=epoch), state_dict=layer.state_dict()),
                   folder / f'runs/epoch_{epoch}.pth')
    return folder


def test_ranks_resume_from_what_rank_0_has_chosen(ranks, tmp_path):
    """Rank 1 has a newer file; rank 0 passes over its broken one."""
    folders = [checkpoints(tmp_path / '0', 1, 2, 3),
               checkpoints(tmp_path / '1', 1, 2, 3, 4)]
    (folders[0] / 'runs/epoch_3.pth').write_bytes(b'PK')
    assert ranks(resume, folders) == [('runs/epoch_2.pth', 2.0)] * 2


def test_a_rank_that_cannot_read_the_choice_ends_the_job(ranks, tmp_path):
    """Both ranks: the other would train alone, and wait for ever."""
    folders = [checkpoints(tmp_path / '0', 1, 2),
               checkpoints(tmp_path / '1', 1)]
    ours, theirs = ranks(resume, folders)
    assert theirs.startswith('FileNotFoundError: runs/epoch_2.pth')
    assert ours.startswith("RuntimeError: --resume='runs/epoch_2.pth' failed "
                           'in process 1: FileNotFoundError')
    # the same with a file that is broken there
    (folders[1] / 'runs/epoch_2.pth').write_bytes(b'PK')
    ours, theirs = ranks(resume, folders)
    assert 'failed in process 1' in ours and 'failed in' not in theirs


def test_a_choice_that_fails_on_rank_0_ends_the_job(ranks, tmp_path):
    folders = [checkpoints(tmp_path / '0'), checkpoints(tmp_path / '1', 1)]
    (folders[0] / 'runs/epoch_1.pth').write_bytes(b'PK')
    ours, theirs = ranks(resume, folders)
    assert ours.startswith(
        'ConfigValueError: --resume: no checkpoint in runs can')
    assert theirs.startswith('RuntimeError: --resume failed in process 0: ')
    assert 'no checkpoint in runs can be read' in theirs
