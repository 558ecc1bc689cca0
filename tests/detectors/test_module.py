"""Being a good module: what a plain detector takes, a distiller takes too."""
import copy
import gc
import pickle
from functools import partial

import pytest
import torch
import torch.multiprocessing as mp
from data_sets import Images
from distiller_and_plain import CFGS, both, pair
from helpers import (
    SDD,
    batch,
    distiller_cfg,
    needs_float16,
    total,
)
from mmcv.cnn import fuse_conv_bn
from mmengine.hooks import EMAHook
from mmengine.logging import MessageHub
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import Runner, set_random_seed
from torch import nn
from torch.testing import assert_close

pytestmark = pytest.mark.torch_only

# a teacher is read, and follows its student, once training begins
whenever = pytest.mark.parametrize('training', [False, True])


def tensors(module):
    """What identifies the tensors of a module, and what changes with them."""
    return {
        name: (x.data_ptr(), x.dtype, x.device, x._version)
        for name, x in module.state_dict().items()
    }


def kinds(module):
    """Everything about the tensors and modes of a module but the values."""
    return ([(name, x.dtype, x.device, x.shape, x.stride())
             for name, x in module.state_dict().items()],
            [(name, x.requires_grad) for name, x in module.named_parameters()],
            [(name, m.training) for name, m in module.named_modules()
             if name.split('.')[0] not in ('pair', 'distillers')])


def tensor_bytes():
    """Of all the memory that any living tensor refers to."""
    gc.collect()
    storages = [
        x.untyped_storage() for x in gc.get_objects()
        if type(x) in (torch.Tensor, nn.Parameter) and x.device.type == 'cpu'
    ]
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


def cost(make):
    """Bytes that are held for what is made."""
    before = tensor_bytes()
    made = make()
    after = tensor_bytes()
    del made
    return after - before


def predictions(model, inputs=None):
    """Boxes, scores and labels, in eval mode."""
    own, samples = batch()
    model.eval()
    with torch.no_grad():
        results = model.predict(own if inputs is None else inputs, samples)
    return [(r.pred_instances.bboxes, r.pred_instances.scores,
             r.pred_instances.labels) for r in results]


# -- moving, casting, modes --------------------------------------------------

CHANGES = dict(
    half=lambda m: m.half(),
    bfloat16=lambda m: m.bfloat16(),
    float=lambda m: m.float(),
    double=lambda m: m.double(),
    to_type=lambda m: m.to(torch.float64),
    to_device=lambda m: m.to('cpu', torch.float64),
    channels_last=lambda m: m.to(memory_format=torch.channels_last),
    cuda=lambda m: m.cuda(),
    train=lambda m: m.eval().train(),
    eval=lambda m: m.eval(),
    freeze=lambda m: m.requires_grad_(False),
    meta=lambda m: m.to('meta'))


@whenever
@pytest.mark.parametrize('change', CHANGES)
@both
def test_a_change_does_to_the_student_what_it_does_to_a_plain_detector(
        method, change, training):
    if change == 'cuda' and not torch.cuda.is_available():
        pytest.skip('needs a GPU')
    model, plain = pair(method, training)
    teacher = model.teacher.detector if training else None
    assert CHANGES[change](model) is model
    CHANGES[change](plain)
    assert kinds(model) == kinds(plain)
    if not training:
        assert not model.teacher.is_read
        return
    assert model.teacher.detector is teacher
    assert not any(m.training for m in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    for ours, theirs in zip(teacher.parameters(), model.parameters(),
                            strict=False):
        if change in ('half', 'bfloat16'):  # which waits for the next run
            assert ours.dtype == torch.float32
        elif change != 'meta':  # where nobody has values
            assert (ours.dtype, ours.device) == (theirs.dtype, theirs.device)


@both
def test_what_changes_nothing_costs_nothing(method):
    model, _ = pair(method, training=True)
    assert cost(lambda: [CHANGES[name](model) for name in (
        'float', 'train', 'eval', 'freeze')]) == 0


@both
def test_a_teacher_follows_from_the_moment_when_training_begins(method):
    model, _ = pair(method)
    model.double()
    inputs, samples = batch()
    losses, _ = model.parse_losses(model.loss(inputs.double(), samples))
    assert losses.dtype == torch.float64
    detector = model.teacher.detector
    assert next(detector.parameters()).dtype == torch.float64
    model.float()
    assert next(detector.parameters()).dtype == torch.float32


LEAVE = dict(half=torch.float16, bfloat16=torch.bfloat16,
             double=torch.float64)
through_each = pytest.mark.parametrize('through', [
    pytest.param('half', marks=needs_float16), 'bfloat16', 'double'])


@through_each
def test_a_teacher_comes_back_unrounded_with_its_student(through):
    model, _ = pair('crosskd', training=True)
    inputs, samples = batch()
    ours = total(model.loss(inputs, samples))
    before = copy.deepcopy(model.teacher.detector.state_dict())
    state = copy.deepcopy(model.state_dict())
    getattr(model, through)()
    predictions(model, inputs.to(LEAVE[through]))
    model.float().train()
    model.load_state_dict(state)
    model.data_preprocessor = copy.deepcopy(
        model.teacher.detector.data_preprocessor)  # rounded as well
    assert total(model.loss(inputs, samples)) == ours
    assert_close(model.teacher.detector.state_dict(), before, rtol=0, atol=0)


@through_each
def test_a_pass_on_the_way_does_not_leave_the_teacher_in_that_type(through):
    model, _ = pair('crosskd', training=True)
    inputs, samples = batch()
    ours = total(model.loss(inputs, samples))
    getattr(model, through)()
    model.teacher(inputs.to(LEAVE[through]), samples)
    assert next(model.teacher.detector.parameters()).dtype == LEAVE[through]
    model.float()
    assert total(model.loss(inputs, samples)) == pytest.approx(ours, rel=0.05)
    types = {p.dtype for p in model.teacher.detector.parameters()}
    assert types == {torch.float32}


# -- copies ------------------------------------------------------------------


def record(calls, *_):
    calls.append(1)


@pytest.mark.parametrize('make', [
    copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=['copied', 'pickled'])
@pytest.mark.parametrize('when', ['before the first step', 'after it'])
def test_a_copy_that_trains_has_a_teacher_of_its_own(make, when):
    """What is done to one of the two changes nothing of the other."""
    model, _ = pair('crosskd', training=True)
    inputs, samples = batch()
    if when == 'after it':
        model.loss(inputs, samples)
    clone = make(model)
    ours = total(model.loss(inputs, samples))
    assert total(clone.loss(inputs, samples)) == pytest.approx(ours, rel=1e-5)
    for one, other in ((clone, model), (model, clone)):
        before, calls = tensors(other.teacher.detector), []
        conv = one.teacher.detector.backbone.conv1
        handle = conv.register_forward_hook(partial(record, calls))
        one.loss(inputs, samples)
        assert len(calls) == 1
        assert isinstance(one.teacher.detector.backbone.bn1, nn.BatchNorm2d)
        assert isinstance(other.teacher.detector.backbone.bn1, nn.Identity)
        handle.remove()
        one.double()
        with torch.no_grad():
            one.teacher(inputs.double(), samples)
        assert tensors(other.teacher.detector) == before
        assert total(other.loss(inputs, samples)) == pytest.approx(
            ours, rel=1e-5)
        one.float()
        assert total(one.loss(inputs, samples)) == pytest.approx(
            ours, rel=1e-5)


def test_a_copy_decides_for_itself_what_of_a_head_runs():
    model, _ = pair('sdd', training=True)
    model.loss(*batch())
    clone = copy.deepcopy(model)
    assert clone.teacher._run_head is not model.teacher._run_head
    clone.loss(*batch())
    assert (clone.teacher._run_head._looked_at
            is not model.teacher._run_head._looked_at)


@pytest.mark.parametrize('make', [copy.deepcopy, ExponentialMovingAverage])
@both
def test_a_copy_costs_the_student_alone(method, make):
    model, plain = pair(method)
    expected = cost(lambda: make(plain))
    assert cost(lambda: make(model)) == expected > 0
    model.init_weights()
    before = tensors(model.teacher.detector)
    assert cost(lambda: make(model)) == expected
    assert tensors(model.teacher.detector) == before


@both
def test_a_copy_shares_the_teacher_and_has_a_head_of_its_own(method):
    model, _ = pair(method, training=True)
    clone = copy.deepcopy(model)
    assert clone.teacher.detector is model.teacher.detector
    inputs, samples = batch()
    ours = total(model.loss(inputs, samples))
    assert total(clone.loss(inputs, samples)) == ours
    with torch.no_grad():
        for p in clone.bbox_head.parameters():
            p.zero_()
    assert total(model.loss(inputs, samples)) == ours
    theirs = total(clone.loss(inputs, samples))
    assert all(theirs[key] != ours[key] for key in ours)


@pytest.mark.parametrize('move', [
    lambda clone, *batch: clone.double(),
    lambda clone, *batch: clone.double().loss(*batch),
    lambda clone, *batch: (clone.init_weights(), clone.double())
], ids=['moves', 'moves and trains', 'trains and moves'])
def test_a_copy_does_not_move_the_teacher(move):
    """Wherever the copy goes, and whether or not it trains there."""
    model, _ = pair('crosskd', training=True)
    inputs, samples = batch()
    ours = total(model.loss(inputs, samples))
    before = tensors(model.teacher.detector)
    move(copy.deepcopy(model), inputs.double(), samples)
    assert tensors(model.teacher.detector) == before
    assert total(model.loss(inputs, samples)) == ours


@both
def test_an_average_of_weights_is_that_of_a_plain_detector(method):
    averages = []
    for model in pair(method, training=True):
        average = ExponentialMovingAverage(model, momentum=0.25)
        with torch.no_grad():
            for _ in range(2):
                average.update_parameters(model)
                for p in model.parameters():
                    p.add_(1)
        averages.append(average)
    ours, theirs = averages
    assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    assert_close(predictions(ours.module), predictions(theirs.module),
                 rtol=0, atol=0)


# -- other processes ---------------------------------------------------------


def results(model):
    # in which iteration of some other run this process is
    MessageHub.get_current_instance().update_info('iter', 0)
    torch.manual_seed(3)  # of a teacher that is read now
    inputs, samples = batch()
    return total(model.loss(inputs, samples)), predictions(model)


def in_a_spawned_process(_, models, file):
    torch.save(list(map(results, models)), file)
    for model in models:
        model.init_weights()
        model.double()


@pytest.mark.slow
def test_a_spawned_process_gets_a_whole_distiller(tmp_path):
    """Student and teacher, before training has begun and after.

    As with any module, the processes share the memory of both, and neither
    process moves the other's.
    """
    cases = [(method, training)
             for method in CFGS for training in (False, True)]
    models = [pair(*case)[0] for case in cases]
    read = [m.teacher.detector for m in models if m.teacher.is_read]
    before = list(map(kinds, read))
    assert len(before) == len(CFGS)
    mp.spawn(in_a_spawned_process, (models, tmp_path / 'results'))
    assert list(map(kinds, read)) == before
    theirs = torch.load(tmp_path / 'results', weights_only=False)
    for case, (losses, boxes) in zip(cases, theirs, strict=True):
        ours, expected = results(pair(*case)[0])
        assert losses == pytest.approx(ours)
        assert_close(boxes, expected)


# -- compiled, fused ---------------------------------------------------------


@both
def test_fused_layers_predict_as_those_of_a_plain_detector(method):
    model, plain = pair(method, training=True)
    with torch.no_grad():  # statistics that are worth fusing
        for detector in (model, plain):
            for seed in range(3):
                detector(batch(seed=seed)[0])
    expected = predictions(model)
    before = tensors(model.teacher.detector)
    fused, plain = fuse_conv_bn(model), fuse_conv_bn(plain)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    assert_close(predictions(fused), expected, rtol=1e-4, atol=1e-4)
    assert_close(predictions(fused), predictions(plain), rtol=0, atol=0)
    assert tensors(model.teacher.detector) == before
    assert any(isinstance(m, nn.BatchNorm2d)
               for m in model.teacher.detector.modules())


def test_a_compiled_backbone_learns_and_predicts_the_same():
    """``aot_eager`` is all of a compilation but the code generation.

    torch 2.1 compiles no more of a detector than this, see below.
    """
    torch._dynamo.reset()
    seen = []
    for compiled in (False, True):
        model, _ = pair('crosskd', training=True)
        if compiled:
            model.backbone.forward = torch.compile(
                model.backbone.forward, backend='aot_eager')
        inputs, samples = batch()
        losses = model.loss(inputs, samples)
        model.parse_losses(losses)[0].backward()
        seen.append((total(losses), predictions(model),
                     [p.grad for p in model.parameters()]))
    assert_close(*seen)


# -- runners -----------------------------------------------------------------


def runner(model, folder, hooks=(), compiled=False):
    """A Runner with two iterations."""
    loader = dict(
        dataset=Images(), batch_size=2, sampler=dict(
            type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'))
    made = Runner(
        copy.deepcopy(model), str(folder), loader,
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        default_scope='mmdet', randomness=dict(seed=0), log_level='ERROR',
        # two of a name in one second would share what they count
        custom_hooks=list(hooks), experiment_name='_'.join(folder.parts[-2:]))
    if compiled:
        made.cfg.compile = dict(backend='eager')
    return made


def train(made):
    set_random_seed(1)  # for initial weights that are drawn now
    return made.train()


@both
def test_two_runners_in_one_process(method, tmp_path):
    """All are built before the first trains, and a plain one between them."""
    cfg, plain = CFGS[method]
    runners = [runner(c, tmp_path / str(i))
               for i, c in enumerate((cfg, plain, cfg))]
    first, _, second = map(train, runners)
    assert first.teacher.detector is not second.teacher.detector
    assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)


@both
def test_the_ema_hook_averages_the_student_alone(method, tmp_path):
    keys = []
    for cfg, name in zip(CFGS[method], ('distiller', 'plain'), strict=True):
        made = runner(cfg, tmp_path / name, hooks=[dict(type='EMAHook')])
        model = train(made)
        saved = torch.load(tmp_path / name / 'epoch_1.pth',
                           weights_only=False)
        keys.append([list(saved[k]) for k in ('state_dict', 'ema_state_dict')])
        (hook, ) = (h for h in made.hooks if isinstance(h, EMAHook))
        average = hook.ema_model.module
        assert_close(saved['state_dict'], average.state_dict())
        if name == 'distiller':
            assert model.teacher.is_read and not average.teacher.is_read
    assert keys[0] == keys[1]


@pytest.mark.slow
@pytest.mark.skipif(
    torch.__version__ < '2.4',
    reason='a Runner compiles train_step, and the compiler of torch 2.1 '
    "fails on that of plain detectors, in their data_preprocessor")
def test_a_runner_compiles_a_distiller(tmp_path):
    torch._dynamo.reset()
    cfg = distiller_cfg('fcos', loss_sdd=SDD)
    plain, compiled = (
        train(runner(cfg, tmp_path / str(c), compiled=c))
        for c in (False, True))
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] > 0
    assert_close(plain.state_dict(), compiled.state_dict())
