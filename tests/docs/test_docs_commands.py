"""The commands of README and docs, run word for word, as CI does.

In a copy of the checkout, with generated images where a page says that the
reader's are.  Published weights are random here: there is no network.
"""
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.hub import get_config as hub_config
from pages import blocks

from conftest import REPO
from crosskd.apps.demo import shapes
from crosskd.compat.mmengine_checkpoints import torchvision_urls

pytestmark = pytest.mark.commands

# asks the hub folder for the names of files, not for their hashes
RANDOM_WEIGHTS = '''
import crosskd.checkpoints.downloads as downloads

downloads._sha256 = lambda file: downloads.HASH_IN_NAME.search(file.name)[1]
'''


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy of what is in the repository, and data for it."""
    folder = tmp_path_factory.mktemp('checkout')
    files = subprocess.run(['git', 'ls-files'], cwd=REPO, text=True,
                           check=True, capture_output=True).stdout.split('\n')
    for name in filter(None, files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (REPO / name).is_symlink():
            (folder / name).symlink_to(os.readlink(REPO / name))
        else:
            shutil.copy(REPO / name, folder / name)
    data = folder / 'data/shapes'
    for split, count in (('train', 2), ('val', 2)):
        shapes.generate(data, split, count)
        for image in (data / split).iterdir():
            (data / 'images').mkdir(exist_ok=True)
            shutil.copy(image, data / f'images/{split}_{image.name}')
        text = (data / f'{split}.json').read_text()
        (data / f'{split}.json').write_text(re.sub(
            r'"file_name": "', f'"file_name": "{split}_', text))
    (folder / 'data/own').symlink_to('shapes')
    return folder


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    """Weights of backbones in the hub folder, under their published names."""
    folder = tmp_path_factory.mktemp('environment')
    hub = folder / 'torch/hub/checkpoints'
    hub.mkdir(parents=True)
    for depth in (18, 50):
        backbone = MODELS.build(dict(type='ResNet', depth=depth))
        url = torchvision_urls()[f'resnet{depth}']
        torch.save(backbone.state_dict(), hub / Path(url).name)
    # with which the teacher of make_config --data begins
    teacher = hub_config('mmdet::gfl/gfl_r50_fpn_1x_coco.py', pretrained=True)
    torch.save(dict(state_dict=MODELS.build(teacher.model).state_dict()),
               hub / Path(teacher.model_path).name)
    (folder / 'sitecustomize.py').write_text(RANDOM_WEIGHTS)
    path = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
    return {**os.environ, 'PATH': path, 'TORCH_HOME': str(folder / 'torch'),
            'PYTHONPATH': str(folder)}


def shorten(folder):
    """Let the configs of make_config --data write and validate less."""
    for name in ('teacher.py', 'student.py'):
        with (folder / name).open('a') as config:
            # so few steps detect nothing else, and mmdet's plot wants an AP;
            # checkpoints of a ResNet-50 take longer to write than to train
            config.write("model['test_cfg'] = dict(score_thr=0.0)\n"
                         "default_hooks['checkpoint'].update(interval=12)\n"
                         "train_cfg['val_interval'] = 12\n")


@pytest.mark.parametrize(
    'block', [b for b in blocks('bash') if not b.kind], ids=str)
def test_commands_do_what_the_page_says(checkout, environment, block):
    for command in block.commands:
        print(f'$ {command}', flush=True)
        done = subprocess.run(
            ['bash', '-c', command], cwd=checkout, text=True, env={
                **environment, 'PYTHONPATH':
                f'{environment["PYTHONPATH"]}:{checkout}'},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, textwrap.indent(done.stdout[-3000:], ' ')
        written = re.search(r'make_config --data .* --out (\S+)', command)
        if written:
            shorten(checkout / written[1])
        if 'crosskd test ' in command or 'tools/test.py' in command:
            assert re.search(r'Epoch\(test\) +\[2/2\]', done.stdout)
