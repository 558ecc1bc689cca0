"""A run ends with what was reached and with the next commands."""
import shlex
from types import SimpleNamespace

import pytest
from helpers import build, distiller_cfg, plain_cfg
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub

from crosskd.engine.report import report


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """A Runner after its training, as far as the report looks at it."""
    monkeypatch.chdir(tmp_path)
    work_dir = tmp_path / 'work dirs' / 'mine'
    work_dir.mkdir(parents=True)
    for name in ('mine.py', 'epoch_2.pth', 'best.pth'):
        (work_dir / name).write_text('')
    (tmp_path / 'mine.py').write_text('a = 1')
    told = MessageHub.get_instance(f'{tmp_path}')
    told.update_scalar('val/coco/bbox_mAP', 0.41)
    told.update_scalar('val/coco/bbox_mAP', 0.352)
    told.update_scalar('val/coco/bbox_mAP_50', 0.7)
    told.update_scalar('train/loss', 3.0)
    told.update_info('last_ckpt', str(work_dir / 'epoch_2.pth'))
    yield SimpleNamespace(
        message_hub=told, work_dir=str(work_dir), timestamp='2026', hooks=[],
        cfg=Config.fromfile('mine.py'),
        model=build(distiller_cfg('gfl'), joins=False), _test_dataloader={})
    MessageHub._instance_dict.pop(f'{tmp_path}')


def test_it_says_what_was_reached_and_the_next_commands(ended):
    assert report(ended).splitlines() == [
        'Training finished.',
        '  coco/bbox_mAP of the last validation: 0.352',
        '  last checkpoint: work dirs/mine/epoch_2.pth', 'Next:',
        "  python -m crosskd test 'work dirs/mine/mine.py' "
        "'work dirs/mine/epoch_2.pth'",
        "  python -m crosskd export 'work dirs/mine/mine.py' "
        "'work dirs/mine/epoch_2.pth' exported",
        "  python -m crosskd compare 'work dirs/mine' "
        'WORK_DIR_OF_ANOTHER_TRAINING']


def test_the_best_checkpoint_is_the_one_to_go_on_with(ended):
    hook = CheckpointHook(save_best='coco/bbox_mAP')
    ended.hooks.append(hook)
    ended.message_hub.update_info('best_score', 0.41)
    ended.message_hub.update_info('best_ckpt', f'{ended.work_dir}/best.pth')
    said = report(ended)
    assert '  coco/bbox_mAP of the best checkpoint: 0.410\n' in said
    assert '  best checkpoint: work dirs/mine/best.pth\n' in said
    for line in said.splitlines()[-3:-1]:
        assert shlex.split(line)[5:6] == ['work dirs/mine/best.pth']


def test_it_claims_nothing_that_is_not_there(ended):
    ended.model = build(plain_cfg('gfl'))
    assert ' export ' not in report(ended)
    ended._test_dataloader = None
    assert 'Next' not in report(ended)
    ended._test_dataloader = {}
    ended.message_hub.update_info('last_ckpt', 'gone.pth')
    ended.message_hub.log_scalars.clear()
    assert report(ended) == 'Training finished.'
