"""Backends of mmengine's visualizer get the distillation losses, too."""
import re

import pytest
from experiments import experiment, model_cfg, write
from helpers import distiller_cfg
from pages import blocks
from tool_server import run as tool

(SNIPPET, ) = (b for b in blocks('python') if b.page == 'docs/watching.md'
               and 'Tensorboard' in b.text)


def test_tensorboard_has_every_loss_of_every_step(shapes_root, tmp_path):
    """Those of the log, read back from its event file; and the AP."""
    reader = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator')
    cfg = model_cfg(distiller_cfg(
        'gfl', loss_feat_kd=dict(type='PKDLoss', loss_weight=1.0)))
    write(tmp_path / 'mine.py', experiment(cfg, epochs=1))
    with open(tmp_path / 'mine.py', 'a') as file:
        file.write(f'\n{SNIPPET.text}\n')
    (tmp_path / 'data').symlink_to(shapes_root / 'data')
    out = tool('train.py', 'mine.py', cwd=tmp_path)
    steps = [dict(re.findall(r'(loss\w*): ([\d.]+)', line))
             for line in out.splitlines() if 'Epoch(train)' in line]
    assert len(steps) == 4 and {'loss_cls_kd', 'loss_reg_kd',
                                'loss_feat_kd'} < steps[0].keys()
    events = reader.EventAccumulator(str(next(
        (tmp_path / 'work_dirs/mine').glob('*/vis_data'))))
    events.Reload()
    for name in steps[0]:
        written = [event.value for event in events.Scalars(name)]
        assert written == pytest.approx(
            [float(step[name]) for step in steps], abs=1e-4), name
    assert events.Scalars('coco/bbox_mAP')
