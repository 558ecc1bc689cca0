"""Short trainings, whole and in parts."""
import copy
import random

import torch
from data_sets import Images
from helpers import distiller_cfg
from mmengine.runner import Runner


def made(folder, epochs, model=None, augments=(), loader=(), **kwargs):
    cfg = copy.deepcopy(model or distiller_cfg('gfl'))
    if augments:
        cfg['data_preprocessor']['batch_augments'] = list(augments)
    kwargs.setdefault('randomness', dict(seed=0))
    kwargs.setdefault('log_level', 'ERROR')
    kwargs.setdefault('train_cfg', dict(by_epoch=True, max_epochs=epochs))
    runner = Runner(
        cfg, str(folder), dict(dict(
            dataset=Images(), batch_size=1, collate_fn=dict(
                type='pseudo_collate'), sampler=dict(
                    type='DefaultSampler', shuffle=True)), **dict(loader)),
        optim_wrapper=dict(dict(
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            **kwargs.pop('optim', {})),
        default_scope='mmdet', custom_hooks=[
            dict(type='RepeatableEpochsHook'), *kwargs.pop('hooks', ())],
        experiment_name='_'.join(folder.parts[-2:]) + str(random.random()),
        **kwargs)
    runner.train()
    return runner


def end(folder, epochs=3):
    return torch.load(folder / f'epoch_{epochs}.pth', weights_only=False)[
        'state_dict']


def resumed_and_whole(folder, **kwargs):
    """Weights after three epochs, of which one was done before."""
    made(folder / 'whole', 3, **kwargs)
    made(folder / 'parts', 3, resume=True,
         load_from=str(folder / 'whole/epoch_1.pth'), **kwargs)
    return end(folder / 'parts'), end(folder / 'whole')
