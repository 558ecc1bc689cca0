"""What README and docs tell people to type can be typed.

``test_docs_commands.py`` runs the commands; CI alone has the time.
"""
import inspect
import re

import pytest
from downstream import PIPELINES, SMALL, SMALL_TWO_STAGES, child
from feature_teachers import need_timm
from helpers import batch, build, distiller_cfg
from mmdet.evaluation import CocoMetric
from mmdet.registry import HOOKS, METRICS, VISBACKENDS
from mmengine.config import Config
from pages import PAGES, blocks
from tool_server import run as tool

from conftest import REPO
from crosskd.apps.commands import COMMANDS as COMMANDS_OF_CROSSKD
from crosskd.apps.commands.mmdet_tools import available
from crosskd.configs import find_config

pytestmark = pytest.mark.torch_only

COMMANDS = [pytest.param(block, command, id=command[:70])
            for block in blocks('bash') for command in block.commands]
SNIPPETS = blocks('python')
# a source distribution has no results/
LEFT_OUT = () if (REPO / 'results').is_dir() else ('results/', )


@pytest.mark.parametrize('block, command', COMMANDS)
def test_a_command_can_be_typed(block, command):
    """Its script and its flags are there; its config loads and builds."""
    words = block.words(command)
    scripts = [w for w in words
               if w.startswith(('docs/', 'results/', 'tests/', 'tools/'))]
    for script in scripts:
        assert (REPO / script).is_file() or script.startswith(LEFT_OUT)
    if words[:3] == ['python', '-m', 'crosskd']:
        assert words[3] in (*COMMANDS_OF_CROSSKD, '--help', '--version')
        assert words[3] != 'mmdet' or words[4] in available()
    for word in words:
        if word.startswith('configs/') and word.endswith('.py'):
            model = Config.fromfile(REPO / word).model
            build(model, joins=False)
            find_config(model.teacher_config)
    flags = [w.split('=')[0] for w in words if w.startswith('--')]
    tools = [s for s in scripts if re.search('train|test.py|test.sh', s)]
    if flags and tools:
        name = re.sub(r'dist_|slurm_', '', tools[0]).replace('.sh', '.py')
        usage = tool(name.removeprefix('tools/'), '--help', cwd=REPO)
        assert all(re.search(rf'{flag}\b', usage) for flag in flags), flags


@pytest.mark.parametrize('block', [b for b in blocks('bash') if b.kind],
                         ids=str)
def test_what_is_not_run_from_the_page_says_why(block):
    if block.kind == 'run by':
        script = (REPO / block.value).read_text()
        assert all(command in script for command in block.commands)
    else:
        assert block.kind == 'needs'
        assert set(block.value.split(', ')) <= {
            'COCO', 'GPUs', 'hours', 'the network', 'mim'}
    if block.value == 'the network':
        setup = (REPO / 'setup.py').read_text()
        for extra in re.findall(r'\.\[(\w+)\]', block.text):
            assert f"'{extra}': [" in setup


@pytest.mark.parametrize('block', [b for b in SNIPPETS if not b.kind],
                         ids=str)
def test_a_config_trains_as_it_is_written(block, shapes_root, tmp_path):
    """It loads and builds; a child of it trains on small images."""
    (tmp_path / 'page.py').write_text(block.text)
    cfg = Config.fromfile(tmp_path / 'page.py')
    build(cfg.model, joins=False)
    small = SMALL_TWO_STAGES if 'roi_head' in cfg.model else SMALL
    teacher, more = cfg.model.teacher_config, "teacher_ckpt='random'"
    if not isinstance(teacher, str):  # a model that is no detector
        if teacher.type == 'TimmTeacher':
            need_timm()
    else:
        more += ", teacher_config='teacher.py'"
        (tmp_path / 'teacher.py').write_text(f'_base_ = {teacher!r}\n{small}')
    (tmp_path / 'mine.py').write_text(child(
        './page.py', shapes_root / 'data/shapes', small=small + PIPELINES,
        more=f'model.update({more})'))
    out = tool('train.py', 'mine.py', cwd=tmp_path)
    kd_cfg = cfg.model.kd_cfg
    losses = [name for part in (kd_cfg, *kd_cfg.get('distillers', ()))
              for name in part if name.startswith('loss')]
    assert losses and all(name in out for name in losses)


@pytest.mark.parametrize('block', [
    b for b in SNIPPETS if b.kind and b.kind != 'file'], ids=str)
def test_a_part_of_a_config_builds(block):
    assert block.kind == 'part of'
    values: dict = {}
    exec(block.text, values)
    key = block.value.split('.')[-1]
    if key == 'custom_hooks':
        assert [HOOKS.build(hook) for hook in values[key]]
        return
    if key == 'visualizer':
        for backend in values[key]['vis_backends']:
            kind = VISBACKENDS.get(backend.pop('type'))
            inspect.signature(kind).bind(save_dir='', **backend)
        return
    if key == 'val_evaluator':
        if 'Faster' in block.text and not METRICS.get('FasterCocoMetric'):
            pytest.skip("OpenMMLab's mmdet has no FasterCocoMetric")
        assert issubclass(METRICS.get(values[key]['type']), CocoMetric)
        return
    cfg = distiller_cfg('gfl')
    if key == 'schedule':
        cfg['kd_cfg'].update(
            schedule=values[key], loss_sdd=dict(type='SDDLoss'),
            loss_feat_kd=dict(type='PKDLoss'))
        losses = build(cfg).loss(*batch())
        assert set(values[key]) <= set(losses)
        return
    if key == 'inherit':
        cfg['kd_cfg'][key] = values[key]
        assert build(cfg).inheritance.modules == values[key]
        return
    assert key == 'kd_cfg'
    cfg.update(type='SDDSingleStageDetector', kd_cfg=values[key])
    losses = build(cfg).loss(*batch(size=(256, 256)))
    expected = [k for k, v in values[key].items()
                if v and k.startswith('loss') and k != 'loss_sdd']
    expected += [f'loss_sdd_{k}' for k in values[key]['sdd_regions']]
    assert set(expected) <= set(losses)


def test_no_block_goes_unread():
    seen = len(blocks('bash')) + len(SNIPPETS)
    assert 2 * seen == sum(
        len(re.findall('^```', page.read_text(), re.M)) for page in PAGES)


def test_links_and_paths_lead_somewhere():
    for page in PAGES:
        text = page.read_text()
        for link in re.findall(r'\]\((?!http)([^)#]+)', text):
            assert (page.parent / link).exists(), (page.name, link)
        if page.name == 'CHANGELOG.md':
            continue  # it names what is no more
        for path in re.findall(
                r'`((?:configs|tools|docs|tests|results|crosskd)/'
                r'[\w+./-]*\w/?)`', text):
            assert (REPO / path).exists() or path.startswith(LEFT_OUT), (
                page.name, path)
