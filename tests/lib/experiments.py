"""Small experiments for the command-line tools, on generated images."""
import torch

from conftest import REPO

CLASSES = ('circle', 'square', 'triangle', 'star', 'cross')


def experiment(model, epochs=2, **kwargs):
    """A whole config around a small model."""
    text = (REPO / 'configs/demo/shapes_detection.py').read_text()
    names = {}
    exec(text.replace("_base_ = ['mmdet::_base_/default_runtime.py']", ''),
         names)
    cfg = {k: v for k, v in names.items()
           if not k.startswith('__') and k not in (
               'train_pipeline', 'test_pipeline', 'metainfo', 'data_root',
               'max_epochs')}
    cfg['_base_'] = 'mmdet::_base_/default_runtime.py'
    cfg['model'] = model
    cfg['train_cfg'].update(max_epochs=epochs, val_interval=epochs)
    cfg['train_dataloader']['batch_size'] = 3
    cfg['default_hooks']['logger']['interval'] = 1
    cfg['custom_imports'] = dict(
        imports=['crosskd'], allow_failed_imports=False)
    cfg['randomness'] = dict(seed=0, deterministic=True)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for step in cfg[loader]['dataset']['pipeline']:
            if step['type'] == 'Resize':
                step['scale'] = (64, 64)
    cfg.update(kwargs)
    return cfg


def model_cfg(cfg):
    cfg['bbox_head']['num_classes'] = len(CLASSES)
    if 'teacher_config' in cfg:
        cfg['teacher_config']['model']['bbox_head']['num_classes'] = len(
            CLASSES)
    return cfg


def write(path, cfg):
    path.write_text('\n'.join(f'{k} = {v!r}' for k, v in cfg.items()))


def weights(path):
    return torch.load(path, map_location='cpu', weights_only=False)[
        'state_dict']


def same_weights(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
