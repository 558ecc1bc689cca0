"""Tools of mmdet's on a distiller's config, without compiled ops."""
import json
import os
import pickle
import re
import sys

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from tool_server import MAIN
from tool_server import run as tool

from crosskd.apps.commands import mmdet_tools
from crosskd.compat import seaborn_styles


def mmdet(name, *args, **kwargs):
    return tool(MAIN, 'mmdet', name, *args, **kwargs)


@pytest.fixture(scope='module')
def log(project):
    """What the distilled student's training logged."""
    file, = (project / 'work_dirs/distilled').glob('*/vis_data/scalars.json')
    return file


def test_the_times_of_a_log(project, log):
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    times = [e['time'] for e in entries if 'lr' in e]
    out = mmdet('analysis_tools/analyze_logs.py', 'cal_train_time', log,
                cwd=project)
    average = float(re.search(r'average iter time: (\S+) s/iter', out)[1])
    assert len(times) == 8
    # without the first of each epoch, as mmdet counts them
    assert min(times) - 1e-4 < average < max(times) + 1e-4


@pytest.mark.parametrize('keys, more', [
    (['loss_cls', 'loss_cls_kd'], []), (['bbox_mAP'], ['--eval-interval', 2])])
def test_curves_of_a_log(project, tmp_path, log, keys, more):
    mmdet('analysis_tools/analyze_logs.py', 'plot_curve', log, '--keys', *keys,
          '--out', tmp_path / 'curve.png', *more, cwd=project)
    picture = cv2.imread(str(tmp_path / 'curve.png'))
    # the ground of the style that the tool asks for, most of the picture
    assert (picture == (242, 234, 234)).all(2).mean() > 0.5


def test_seaborns_styles_have_their_names(monkeypatch):
    monkeypatch.delitem(sys.modules, 'seaborn', raising=False)
    monkeypatch.setattr(seaborn_styles, 'find_spec', lambda name: None)
    seaborn_styles.provide_seaborn_styles()
    seaborn = sys.modules.pop('seaborn')
    for use in (seaborn.set_style, matplotlib.style.use):
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            use('dark')
            assert matplotlib.rcParams['axes.facecolor'] == '#EAEAF2'


def test_flops_are_the_students(project):
    """As it is deployed; the teacher is not even there."""
    outs = [mmdet('analysis_tools/get_flops.py', config, '--num-images', 1,
                  *more, cwd=project)
            for config, more in (
                ('plain.py', []),
                ('distilled.py', ['--cfg-options',
                                  'model.teacher_config=gone.py',
                                  'model.teacher_ckpt=gone.pth']))]
    plain, distilled = (dict(re.findall(r'(Flops|Params): (\S+)', out))
                        for out in outs)
    assert plain == distilled and plain['Flops'].endswith('M')
    model = MODELS.build(Config.fromfile(project / 'plain.py').model)
    count = sum(p.numel() for p in model.parameters())
    assert plain['Params'] == f'{count / 1e6:.3f}M'


def test_a_confusion_matrix(project, tmp_path):
    predictions = tmp_path / 'predictions.pkl'
    path = project / 'work_dirs/distilled/epoch_2.pth'
    tool('test.py', 'distilled.py', path, '--work-dir', tmp_path, '--out',
         predictions, cwd=project)
    assert len(pickle.loads(predictions.read_bytes())) == 6
    mmdet('analysis_tools/confusion_matrix.py', 'distilled.py', predictions,
          tmp_path / 'matrix', '--score-thr', 0.01, cwd=project)
    picture = cv2.imread(str(tmp_path / 'matrix/confusion_matrix.png'))
    assert picture.std() > 10


def test_a_data_set_is_drawn(project, tmp_path):
    mmdet('analysis_tools/browse_dataset.py', 'distilled.py', '--not-show',
          '--output-dir', tmp_path, '--cfg-options',
          'train_dataloader.dataset.pipeline.3.prob=0.0', cwd=project)
    drawn = sorted(p.name for p in tmp_path.iterdir())
    originals = project / 'data/shapes/train'
    assert drawn == sorted(p.name for p in originals.iterdir())
    before, after = (cv2.imread(str(folder / drawn[0])).astype(int)
                     for folder in (originals, tmp_path))
    assert before.shape == after.shape
    changed = (np.abs(before - after) > 20).any(2).mean()
    assert 0.02 < changed < 0.9  # boxes and their labels


def test_a_published_checkpoint_is_the_students(project, tmp_path):
    path = project / 'work_dirs/distilled/epoch_2.pth'
    mmdet('model_converters/publish_model.py', path, tmp_path / 'student.pth',
          cwd=project)
    file, = tmp_path.glob('student-*.pth')
    published = torch.load(file, weights_only=True)['state_dict']
    trained = torch.load(path, weights_only=False)['state_dict']
    assert published.keys() == trained.keys()
    assert file.stat().st_size < path.stat().st_size  # no optimizer's state


def test_tools_load_through_the_allow_list(project, tmp_path):
    """publish_model.py calls torch.load itself."""

    class Evil:

        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'it ran'), )

    torch.save(dict(state_dict={}, evil=Evil()), tmp_path / 'evil.pth')
    out = mmdet('model_converters/publish_model.py', tmp_path / 'evil.pth',
                tmp_path / 'out.pth', cwd=project, ok=False)
    assert 'not on the allow-list' in out
    assert not (tmp_path / 'it ran').exists()
    assert not list(tmp_path.glob('out*'))


@pytest.mark.parametrize('start', ['    sys.exit(7)', '    main()'])
def test_a_tool_is_started_as_mmdet_does(tmp_path, monkeypatch, start):
    """Some have no ``main``; functions are sent to processes by name."""
    (tmp_path / 'own.py').write_text(
        'import pickle\nimport sys\ndef work(): pass\ndef main():\n'
        '    assert pickle.loads(pickle.dumps(work)) is work\n'
        f"    sys.exit(7)\nif __name__ == '__main__':\n{start}\n")
    monkeypatch.setattr(mmdet_tools, 'TOOLS', tmp_path)
    monkeypatch.setattr(sys, 'argv', [])
    with pytest.raises(SystemExit) as ended:
        mmdet_tools.run('own.py', [], 'own')
    assert ended.value.code == 7
