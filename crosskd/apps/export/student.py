"""Writing a trained student for use without this package."""
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import nn

from ...checkpoints.downloads import download, is_url
from ...checkpoints.loading import load_checkpoint
from ...configs import model_of
from ...errors import ConfigValueError
from ...registry import SCOPE
from ...teacher.loading import classes_of, load_strictly
from .describing import describe
from .onnx import check_packages, write_onnx
from .plain import needs_this_package, plain_config

CONFIG, CHECKPOINT, ONNX = FILES = (
    'student.py', 'student.pth', 'student.onnx')
WEIGHTS = ('ema', 'raw')
# of a checkpoint's meta; mmdet 2 had CLASSES directly in it
KEPT_META = ('dataset_meta', 'CLASSES', 'PALETTE', 'epoch', 'iter', 'seed',
             'time', 'mmengine_version')


class Exported(NamedTuple):
    """The result of an export.

    Attributes:
        files: paths of the written files.
        before, after: bytes of the given checkpoint, and of the new one.
        weights: ``'ema'`` or ``'raw'`` if the training averaged weights, else
            None.
        difference: between the outputs of the ONNX file and torch's, see
            :func:`~crosskd.apps.export.onnx.write_onnx`; None without ONNX.
    """
    files: list[Path]
    before: int
    after: int
    weights: str | None
    difference: float | None


def export_student(cfg: Config, checkpoint: str, folder: str | Path,
                   weights: str | None = None, onnx: bool = False,
                   log: Callable[[str], Any] = print,
                   onnx_size: tuple[int, int] | None = None) -> Exported:
    """Write the plain config and checkpoint of a trained student.

    The files appear when all of them are finished, and replace those of an
    earlier export.

    Args:
        cfg: its config, distilled or plain.
        checkpoint: path or URL of its checkpoint.
        folder: gets ``student.py`` and ``student.pth``.
        weights: for a training with mmengine's ``EMAHook``: ``'ema'`` for the
            averaged weights, which validation used, or ``'raw'`` for the
            trained ones.  By default the averaged ones, if there are any.
        onnx: whether to write ``student.onnx``, too.
        log: gets messages about slow steps and other things to know.
        onnx_size: fixed height and width of the images for the ONNX file; by
            default it takes any size.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        TypeError, ValueError: the checkpoint cannot be read, belongs to
            another model, or has no averages; there is no plain config; the
            folder cannot be written to; or ONNX cannot hold the detector.
    """
    if onnx:
        check_packages()
    plain = plain_config(cfg)
    for name in needs_this_package(plain):
        log(f'CONFIG needs {name}, which imports {SCOPE}, so {CONFIG} cannot '
            f'be loaded without {SCOPE}. Move what the plain student needs '
            f'to a module that does not import {SCOPE}')
    file = Path(download(checkpoint, 'CHECKPOINT') if is_url(checkpoint)
                else checkpoint).expanduser()
    loaded = load_checkpoint(
        str(file), 'CHECKPOINT', 'Export the file that the training wrote')
    averaged = 'ema_state_dict' in loaded
    if weights is not None and not averaged:
        raise ConfigValueError(
            f'--weights {weights}: CHECKPOINT={checkpoint!r} was not written '
            'by a training with EMAHook, so it has only one set of weights; '
            'export it without --weights')
    if weights == 'raw':
        # mmengine saves the averages as state_dict, and the others separately
        loaded['state_dict'] = {
            name: value for name, value in loaded.pop('ema_state_dict').items()
            if name.startswith('module.')}
    detector = _build(plain)
    load_strictly(detector, loaded, f'CHECKPOINT={checkpoint!r}', 'CONFIG')
    meta = {key: value for key, value in (loaded.get('meta') or {}).items()
            if key in KEPT_META}
    # DetInferencer(weights=…) of mmdet's reads it
    meta['cfg'] = plain.pretty_text
    folder, difference = Path(folder).expanduser(), None
    with _written_at_once(folder) as part:
        plain.dump(part / CONFIG)
        data = io.BytesIO()  # so that a full disk raises an OSError
        torch.save(dict(meta=meta, state_dict=detector.state_dict()), data)
        (part / CHECKPOINT).write_bytes(data.getvalue())
        if onnx:
            log('exporting to ONNX, which takes up to a minute …')
            about = describe(detector, plain, classes_of(loaded))
            if 'not_described' in about:
                log(f'{ONNX} does not describe these transforms of the test '
                    f'pipeline: {about["not_described"]}')
            difference = write_onnx(detector.eval(), part / ONNX, about,
                                    onnx_size)
        before, after = (f.stat().st_size for f in (file, part / CHECKPOINT))
    files = FILES if onnx else FILES[:2]
    return Exported(
        [folder / name for name in files], before, after,
        (weights or WEIGHTS[0]) if averaged else None, difference)


def _build(plain: Config) -> nn.Module:
    """The detector, as mmdet builds it without this package."""
    with DefaultScope.overwrite_default_scope(plain.default_scope):
        return revert_sync_batchnorm(MODELS.build(model_of(plain)))


@contextmanager
def _written_at_once(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder; move its files to ``folder`` at the end.

    Raises:
        ValueError: ``folder`` cannot be written to.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        if not place.is_dir():
            raise NotADirectoryError(20, f'{place} is a file')
        part = Path(tempfile.mkdtemp(prefix='.student-', dir=place))
    except OSError as e:
        raise _cannot_write(folder, e) from None
    try:
        yield part
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if (part / name).exists():
                (part / name).replace(folder / name)
            else:  # from an earlier export, with other weights
                (folder / name).unlink(missing_ok=True)
    except OSError as e:
        raise _cannot_write(folder, e) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _cannot_write(folder: Path, error: OSError) -> ValueError:
    return ConfigValueError(f'OUT={str(folder)!r}: cannot be written: '
                            f'{error.strerror or error}')
