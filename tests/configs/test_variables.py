"""``--cfg-options`` that would change nothing."""
import pytest

from crosskd.configs import read_config

BASE = """\
data_root = 'data/own/'
batch = 4
lr = 0.01
flag = True
_unused = 3
pipeline = [dict(type='Load')]
train_dataloader = dict(batch_size=batch, dataset=dict(
    data_root=data_root, pipeline=pipeline))
val_evaluator = dict(ann_file=f'{data_root}val.json')
optim_wrapper = dict(optimizer=dict(lr=lr))
train_cfg = dict(flag=flag, other=True)
for_a_hook = 'data/own/'
work_dir = data_root + 'work'
"""
CHILD = """\
_base_ = 'base.py'
names = ('a', 'b')
data_root = 'data/own/'
model = dict(type='GFL', neck=dict(lr=_base_.lr), names=names)
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'child.py').write_text(CHILD)
    return str(tmp_path / 'child.py')


@pytest.mark.parametrize('key, value, instead', [
    ('data_root', 'x/', 'train_dataloader.dataset.data_root, '
     'val_evaluator.ann_file, work_dir'),
    ('batch', 2, 'train_dataloader.batch_size'),
    ('lr', 0.1, 'model.neck.lr, optim_wrapper.optimizer.lr'),
    ('flag', False, 'train_cfg.flag'),
    ('names', ('c', ), 'model.names'),
    ('pipeline.0.type', 'Other', 'train_dataloader.dataset.pipeline')])
def test_a_variable_of_the_file_is_refused(config, key, value, instead):
    """It names the keys that were made of it."""
    with pytest.raises(ValueError, match=f'^--cfg-options {key}=') as error:
        read_config(config, 'CONFIG', options={key: value})
    said = str(error.value)
    assert f'{key.split(".")[0]} is a variable of the config file' in said
    named = said.partition(' Change ')[2].removesuffix(' instead')
    assert sorted(named.split(', ')) == instead.split(', ')


def test_a_variable_whose_keys_are_not_known_is_changed_in_its_file(config):
    with open(config, 'a') as file:
        file.write('epochs = 1\ntrain_cfg = dict(max_epochs=epochs)\n')
    with pytest.raises(ValueError, match='^--cfg-options epochs=2 .*old value.'
                       ' Change it in the file that has it$'):
        read_config(config, 'CONFIG', options=dict(epochs=2))


@pytest.mark.parametrize('key, value', [
    ('work_dir', 'x'), ('train_dataloader.batch_size', 2),
    ('for_a_hook', 'x'), ('is_new', 1), ('model.neck.lr', 1.0),
    ('load_from', 'x.pth'), ('optim_wrapper.optimizer.lr', 0.1)])
def test_what_is_read_later_is_changed(config, key, value):
    cfg = read_config(config, 'CONFIG', options={key: value})
    for part in key.split('.'):
        cfg = cfg[part]
    assert cfg == value


def test_the_configs_of_own_data_name_the_keys():
    with pytest.raises(ValueError, match=(
            'Change train_dataloader.dataset.data_root, .*ann_file instead')):
        read_config('crosskd::demo/gfl_r18w8_shapes.py', 'CONFIG',
                    options=dict(data_root='x/'))
