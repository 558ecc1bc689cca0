"""What docs/results.md compares: detectors, and the tables they stand in."""
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
KD = 'model.kd_cfg.'
PLAIN = {f'{KD}prediction': 'student'}
FEATURES_ALONE = {
    'model.type': 'DistilledSingleStageDetector', **{
        f'{KD}{key}': None
        for key in ('loss_cls_kd', 'loss_reg_kd', 'loss_center_kd',
                    'reused_teacher_head_idx')
    }
}


@dataclass(frozen=True)
class Detector:
    """What is trained.

    Attributes:
        name: unique; what tables call it.
        config: path below ``configs/`` or of this folder, or absolute.
        teacher: name of the detector that teaches it, None where it learns
            alone.
        changes: ``--cfg-options``.
        is_teacher: trained on one seed, the same for all students.
    """
    name: str
    config: str
    teacher: str | None = None
    changes: dict[str, object] = field(default_factory=dict)
    is_teacher: bool = False


@dataclass(frozen=True)
class Table:
    """Detectors that are compared.

    Attributes:
        name: of its marker in docs/results.md.
        alone: name of the student without a teacher, which the others gain
            over.
        rows: names of detectors.
    """
    name: str
    alone: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A row of the page's first table: one student, taught by each method.

    Attributes:
        images: key of ``DETECTORS``.
        title: what the row is called.
        alone: name of the student that has no teacher.
        teacher: name of the teacher.
        methods: names of the students it teaches, by keys of ``METHODS``.
    """
    images: str
    title: str
    alone: str
    teacher: str
    methods: dict[str, str]


def features(kind: str, **arguments: object) -> dict[str, object]:
    return {f'{KD}loss_feat_kd.{key}': value
            for key, value in dict(type=kind, **arguments).items()}


def pkd(weight: float) -> dict[str, object]:
    return features('PKDLoss', loss_weight=weight)


def off_from(epoch: int, *losses: str) -> dict[str, object]:
    return {f'{KD}schedule.{loss}.{key}': value
            for loss in losses or ('loss_feat_kd', )
            for key, value in dict(type='StopWeight', begin=epoch).items()}


def head(name: str, teacher: str, alone: str, crosskd: str,
         pkd_weight: float) -> list[Detector]:
    """A teacher with this head, and students by every method."""
    taught = f'{name} teacher'
    return [
        Detector(taught, teacher, is_teacher=True),
        Detector(f'{name} alone', alone),
        Detector(f'{name} plain imitation', crosskd, taught, PLAIN),
        Detector(f'{name} PKD', crosskd, taught,
                 {**FEATURES_ALONE, **pkd(pkd_weight)}),
        Detector(f'{name} CrossKD', crosskd, taught),
        Detector(f'{name} CrossKD + PKD', crosskd, taught, pkd(pkd_weight)),
    ]


def compared(name: str) -> Table:
    """The table of one head's methods."""
    return Table(name, f'{name} alone', tuple(
        f'{name} {what}' for what in ('teacher', 'alone', 'plain imitation',
                                      'PKD', 'CrossKD', 'CrossKD + PKD')))


SHAPES = str(HERE / 'shapes')
GFL_CROSSKD = 'demo/crosskd_gfl_r18w8_r18w24_shapes.py'
SDD = 'sdd/sdd_gfl_r18w8_r18w24_shapes.py'
CROSSKD_SDD = 'crosskd_sdd/crosskd+sdd_gfl_r18w8_r18w24_shapes.py'
HEAD16 = 'demo/crosskd_gfl_r18w8_head16_r18w24_shapes.py'
BOX = {f'{KD}sdd_regions.map': None, f'{KD}sdd_regions.box.loss_weight': 3.0,
       f'{KD}sdd_regions.box.base': 'bernoulli',
       f'{KD}sdd_regions.box.scales': [1, 2, 4]}
ONE_ANCHOR = 'RetinaNet, one anchor, teacher'

ON_SHAPES = [
    *head('GFL', 'demo/gfl_r18w24_shapes.py', 'demo/gfl_r18w8_shapes.py',
          GFL_CROSSKD, 6.0),
    *head('ATSS', 'demo/atss_r18w24_shapes.py',
          f'{SHAPES}/atss_r18w8_shapes.py',
          f'{SHAPES}/crosskd_atss_r18w8_r18w24_shapes.py', 1.0),
    *head('FCOS', f'{SHAPES}/fcos_r18w24_shapes.py',
          f'{SHAPES}/fcos_r18w8_shapes.py',
          f'{SHAPES}/crosskd_fcos_r18w8_r18w24_shapes.py', 2.0),
    *head('RetinaNet', 'demo/retinanet_r18w24_shapes.py',
          f'{SHAPES}/retinanet_r18w8_shapes.py',
          f'{SHAPES}/crosskd_retinanet_r18w8_r18w24_shapes.py', 2.0),
    *(Detector(f'GFL CrossKD, split {i}', GFL_CROSSKD, 'GFL teacher',
               {f'{KD}reused_teacher_head_idx': i}) for i in (0, 1, 2, 4)),
    Detector('GFL SDD: map', SDD, 'GFL teacher'),
    Detector('GFL SDD: box', SDD, 'GFL teacher', BOX),
    Detector('GFL CrossKD + SDD: map', CROSSKD_SDD, 'GFL teacher'),
    Detector('GFL half the channels, alone',
             'demo/gfl_r18w8_head16_shapes.py'),
    Detector('GFL half the channels, plain imitation', HEAD16,
             'GFL teacher', PLAIN),
    Detector('GFL half the channels, CrossKD', HEAD16, 'GFL teacher'),
    Detector('GFL plain imitation of ATSS',
             'demo/crosskd_gfl_r18w8_atss_r18w24_shapes.py', 'ATSS teacher',
             PLAIN),
    Detector('GFL CrossKD from ATSS',
             'demo/crosskd_gfl_r18w8_atss_r18w24_shapes.py', 'ATSS teacher'),
    Detector(ONE_ANCHOR, 'demo/retinanet_r18w24_1anchor_shapes.py',
             is_teacher=True),
    Detector('GFL plain imitation of RetinaNet, one anchor',
             'demo/crosskd_gfl_r18w8_retinanet_r18w24_1anchor_shapes.py',
             ONE_ANCHOR, PLAIN),
    Detector('GFL CrossKD from RetinaNet, one anchor',
             'demo/crosskd_gfl_r18w8_retinanet_r18w24_1anchor_shapes.py',
             ONE_ANCHOR),
    Detector('GFL CrossKD from RetinaNet',
             'demo/crosskd_gfl_r18w8_retinanet_r18w24_shapes.py',
             'RetinaNet teacher'),
]

def longer(epochs: int) -> dict[str, object]:
    """The same schedule over more epochs."""
    return {'train_cfg.max_epochs': epochs, 'param_scheduler.1.T_max': epochs,
            'param_scheduler.1.end': epochs}


def by_every_method(name: str, alone: str, crosskd: str, sdd: str,
                    teacher: str, pkd_weight: float) -> list[Detector]:
    """A student alone and by every method, with its published weights."""
    return [
        Detector(f'{name}: alone', alone),
        Detector(f'{name}: CrossKD', crosskd, teacher),
        Detector(f'{name}: plain imitation', crosskd, teacher, PLAIN),
        Detector(f'{name}: PKD', crosskd, teacher,
                 {**FEATURES_ALONE, **pkd(pkd_weight)}),
        Detector(f'{name}: CrossKD + PKD', crosskd, teacher,
                 pkd(pkd_weight)),
        Detector(f'{name}: SDD: map', sdd, teacher),
        *(Detector(f'{name}: {method}', crosskd, teacher,
                   {**FEATURES_ALONE, **changes})
          for method, changes in FEATURES.items()),
    ]


def as_long(name: str, alone: str, crosskd: str, teacher: str,
            epochs: int) -> list[Detector]:
    """Alone for the time of CrossKD, and both for three times as long."""
    half, three = epochs * 3 // 2, epochs * 3
    return [
        Detector(f'{name}, {half} epochs: alone', alone,
                 changes=longer(half)),
        Detector(f'{name}, {three} epochs: alone', alone,
                 changes=longer(three)),
        Detector(f'{name}, {three} epochs: CrossKD', crosskd, teacher,
                 longer(three)),
    ]


FEATURES = {
    'CWD': features('ChannelWiseDivergence', loss_weight=10.0),
    'MGD': features('MGDLoss', loss_weight=2e-5),
    'FGD': features('FGDLoss'),
}
AQUARIUM = str(HERE / 'aquarium')
MOBILENET = f'{AQUARIUM}/gfl_mobilenetv2_aquarium.py'
MOBILENET_CROSSKD = f'{AQUARIUM}/crosskd_gfl_mobilenetv2_aquarium.py'
RANDOM_CROSSKD = f'{AQUARIUM}/crosskd_gfl_r18w16_mobilenetv2_aquarium.py'
ON_PHOTOGRAPHS = [
    Detector('teacher', f'{AQUARIUM}/gfl_mobilenetv2_teacher_aquarium.py',
             is_teacher=True),
    *by_every_method('photographs', MOBILENET, MOBILENET_CROSSKD,
                     f'{AQUARIUM}/sdd_gfl_mobilenetv2_aquarium.py',
                     'teacher', 6.0),
    *by_every_method(
        'photographs, 32 channels',
        f'{AQUARIUM}/gfl_mobilenetv2_head32_aquarium.py',
        f'{AQUARIUM}/crosskd_gfl_mobilenetv2_head32_aquarium.py',
        f'{AQUARIUM}/sdd_gfl_mobilenetv2_head32_aquarium.py', 'teacher', 6.0),
    *as_long('photographs', MOBILENET, MOBILENET_CROSSKD, 'teacher', 12),
    Detector('random weights: alone', f'{AQUARIUM}/gfl_r18w16_aquarium.py'),
    Detector('random weights: CrossKD', RANDOM_CROSSKD, 'teacher'),
    Detector('random weights: plain imitation', RANDOM_CROSSKD, 'teacher',
             PLAIN),
    Detector('random weights: CrossKD + PKD', RANDOM_CROSSKD, 'teacher',
             pkd(6.0)),
    Detector('random weights: SDD: map',
             f'{AQUARIUM}/sdd_gfl_r18w16_mobilenetv2_aquarium.py',
             'teacher'),
]

RETINANETS = {
    'one anchor': ('_1anchor', '', {}),
    'one anchor, normalized': ('_1anchor_gn', '_gn', {}),
    'one anchor, 12 epochs': ('_1anchor', '', longer(12)),
    'nine anchors': ('', '_9anchors', {}),
}
ON_PHOTOGRAPHS += [
    each for name, (teacher, student, changes) in RETINANETS.items()
    for each in (
        Detector(f'RetinaNet, {name}, teacher of photographs',
                 f'{AQUARIUM}/retinanet_mobilenetv2{teacher}'
                 '_teacher_aquarium.py', changes=changes, is_teacher=True),
        *(Detector(f'photographs from RetinaNet, {name}: {method}',
                   f'{AQUARIUM}/crosskd_gfl_mobilenetv2_retinanet{student}'
                   '_aquarium.py',
                   f'RetinaNet, {name}, teacher of photographs', by)
          for method, by in (('CrossKD', {}), ('plain imitation', PLAIN))
          # which needs as many anchors as the student has
          if not (by and name == 'nine anchors')))
]
# with the first of these teachers
ON_PHOTOGRAPHS += [
    Detector('photographs from RetinaNet, one anchor: CrossKD, unaligned',
             f'{AQUARIUM}/crosskd_gfl_mobilenetv2_retinanet_unaligned'
             '_aquarium.py', 'RetinaNet, one anchor, teacher of photographs'),
    *(Detector(f'photographs from RetinaNet, one anchor: CrossKD, split {i}',
               f'{AQUARIUM}/crosskd_gfl_mobilenetv2_retinanet_aquarium.py',
               'RetinaNet, one anchor, teacher of photographs',
               {f'{KD}reused_teacher_head_idx': i}) for i in (0, 2))
]
# times the published weights
ON_PHOTOGRAPHS += [
    Detector(f'weights: {cls:g} for classes, {reg:g} for boxes',
             MOBILENET_CROSSKD, 'teacher',
             {f'{KD}loss_cls_kd.loss_weight': 1.0 * cls,
              f'{KD}loss_reg_kd.loss_weight': 4.0 * reg})
    for cls in (0.5, 1, 2) for reg in (0.5, 1, 2) if (cls, reg) != (1, 1)
]

BOARDS = str(HERE / 'boards')
ON_BOARDS = [
    each for name, kind, weight in (('GFL', 'gfl', 6.0),
                                    ('RetinaNet', 'retinanet', 2.0))
    for each in (
        Detector(f'boards, {name}: teacher',
                 f'{BOARDS}/{kind}_r18w24_boards.py', is_teacher=True),
        *by_every_method(f'boards, {name}',
                         f'{BOARDS}/{kind}_r18w8_boards.py',
                         f'{BOARDS}/crosskd_{kind}_r18w8_r18w24_boards.py',
                         f'{BOARDS}/sdd_{kind}_r18w8_r18w24_boards.py',
                         f'boards, {name}: teacher', weight))
]

GFL_TEACHES = 'teacher of features, GFL'
FASTER_TEACHES = 'teacher of features, Faster R-CNN'
RETINA_TEACHES = 'teacher of features, RetinaNet'
DINO_TEACHES = 'teacher of features, DINO'
FASTER_STUDENT = f'{SHAPES}/pkd_faster_r18w8_r18w24_shapes.py'
INHERITS = {f'{KD}inherit': ['neck', 'bbox_head']}
BY_FEATURES = {
    'PKD': pkd(6.0),
    **FEATURES,
    'PKD, off from epoch 9': {**pkd(6.0), **off_from(9)},
    # a loss without weight: the teacher gives nothing but its weights
    'inherit alone': {**pkd(0.0), **INHERITS},
}
ON_FEATURES = [
    Detector(GFL_TEACHES, 'demo/gfl_r18w24_shapes.py', is_teacher=True),
    Detector('student GFL, alone', 'demo/gfl_r18w8_shapes.py'),
    Detector('student GFL, CrossKD', GFL_CROSSKD, GFL_TEACHES),
    *(Detector(f'student GFL, {name}', GFL_CROSSKD, GFL_TEACHES,
               {**FEATURES_ALONE, **changes})
      for name, changes in BY_FEATURES.items()),
    Detector('student GFL, CrossKD, off from epoch 9', GFL_CROSSKD,
             GFL_TEACHES, off_from(9, 'loss_cls_kd', 'loss_reg_kd')),
    Detector('student GFL, CrossKD and inherit', GFL_CROSSKD, GFL_TEACHES,
             INHERITS),
    Detector(FASTER_TEACHES, f'{SHAPES}/faster_r18w24_shapes.py',
             is_teacher=True),
    Detector('student Faster R-CNN, alone',
             f'{SHAPES}/faster_r18w8_shapes.py'),
    Detector('student Faster R-CNN, PKD', FASTER_STUDENT, FASTER_TEACHES),
    Detector('student Faster R-CNN, MGD', FASTER_STUDENT, FASTER_TEACHES,
             features('MGDLoss', loss_weight=5e-7, mask_ratio=0.45)),
    Detector(RETINA_TEACHES, 'demo/retinanet_r18w24_shapes.py',
             is_teacher=True),
    Detector('student Faster R-CNN, PKD from RetinaNet', FASTER_STUDENT,
             RETINA_TEACHES, {
                 'model.teacher_config':
                 'crosskd::demo/retinanet_r18w24_shapes.py'}),
    Detector('student RetinaNet, alone',
             f'{SHAPES}/retinanet_r18w8_shapes.py'),
    Detector('student RetinaNet, PKD from Faster R-CNN',
             f'{SHAPES}/pkd_retinanet_r18w8_faster_r18w24_shapes.py',
             FASTER_TEACHES),
    Detector(DINO_TEACHES, f'{SHAPES}/dino_r18w24_shapes.py',
             is_teacher=True),
    Detector('student DINO, alone', f'{SHAPES}/dino_r18w8_shapes.py'),
    Detector('student DINO, PKD',
             f'{SHAPES}/pkd_dino_r18w8_r18w24_shapes.py', DINO_TEACHES),
]



def of_student(name: str, detectors: list[Detector], teacher: str) -> Table:
    """A teacher, its student alone and by every method."""
    return Table(name, f'{name}: alone', (teacher, *(
        each.name for each in detectors
        if each.name.startswith(f'{name}: ') and each.name != teacher)))


GFL_SPLITS = ('GFL CrossKD, split 0', 'GFL CrossKD, split 1',
              'GFL CrossKD, split 2', 'GFL CrossKD', 'GFL CrossKD, split 4')
CONFLICT = ('GFL plain imitation of ATSS', 'GFL CrossKD from ATSS',
            'GFL plain imitation of RetinaNet, one anchor',
            'GFL CrossKD from RetinaNet, one anchor',
            'GFL CrossKD from RetinaNet')
HALF = tuple(f'GFL half the channels, {method}'
             for method in ('alone', 'plain imitation', 'CrossKD'))
SDDS = ('GFL SDD: map', 'GFL SDD: box', 'GFL CrossKD + SDD: map')
TABLES = {
    'shapes': [
        *map(compared, ('GFL', 'ATSS', 'FCOS', 'RetinaNet')),
        Table('split', 'GFL alone', ('GFL alone', *GFL_SPLITS)),
        Table('SDD', 'GFL alone', (
            'GFL alone', 'GFL plain imitation', *SDDS, 'GFL CrossKD')),
        Table('conflict', 'GFL alone', (
            'ATSS teacher', ONE_ANCHOR, 'RetinaNet teacher', 'GFL alone',
            *CONFLICT)),
        Table('adapter', HALF[0], ('GFL teacher', *HALF)),
    ],
    'photographs': [
        *(of_student(name, ON_PHOTOGRAPHS, 'teacher') for name in (
            'photographs', 'photographs, 32 channels', 'random weights')),
        Table('longer on photographs', 'photographs, 36 epochs: alone', (
            'photographs: alone', 'photographs, 18 epochs: alone',
            'photographs, 36 epochs: alone',
            'photographs, 36 epochs: CrossKD')),
        Table('weights', 'photographs: alone', (
            'photographs: alone', 'photographs: CrossKD', *(
                each.name for each in ON_PHOTOGRAPHS
                if each.name.startswith('weights: ')))),
        Table('RetinaNet of photographs', 'photographs: alone', (
            'photographs: alone', *(
                each.name for each in ON_PHOTOGRAPHS
                if 'RetinaNet' in each.name))),
    ],
    'boards': [
        of_student(f'boards, {name}', ON_BOARDS, f'boards, {name}: teacher')
        for name in ('GFL', 'RetinaNet')
    ],
    'features': [
        Table(f'features of {kind}', f'student {kind}, alone', tuple(
            each.name for each in ON_FEATURES if kind in each.name
            and (each.is_teacher or f'student {kind}' in each.name)))
        for kind in ('GFL', 'Faster R-CNN', 'RetinaNet', 'DINO')
    ]
}
DETECTORS = {'shapes': ON_SHAPES, 'photographs': ON_PHOTOGRAPHS,
             'boards': ON_BOARDS, 'features': ON_FEATURES}

# columns of the first table, and how detectors' names say them
METHODS = {'plain imitation': 'plain imitation', 'SDD': 'SDD: map',
           'PKD': 'PKD', 'CrossKD': 'CrossKD',
           'CrossKD + PKD': 'CrossKD + PKD'}


def comparison(images: str, title: str, prefix: str,
               teacher: str) -> Comparison:
    """The student whose names begin so, by every method that is trained."""
    names = {each.name for each in DETECTORS[images]}
    return Comparison(images, title, f'{prefix}alone', teacher, {
        column: f'{prefix}{method}' for column, method in METHODS.items()
        if f'{prefix}{method}' in names})


SUMMARY = (
    *(comparison('photographs', name, f'{name}: ', 'teacher')
      for name in ('photographs', 'photographs, 32 channels')),
    comparison('photographs', 'photographs, random weights',
               'random weights: ', 'teacher'),
    *(comparison('boards', name, f'{name}: ', f'{name}: teacher')
      for name in ('boards, GFL', 'boards, RetinaNet')),
    *(comparison('shapes', name, f'{name} ', f'{name} teacher')
      for name in ('GFL', 'ATSS', 'FCOS', 'RetinaNet')),
    comparison('shapes', 'GFL, half the channels', 'GFL half the channels, ',
               'GFL teacher'),
    Comparison('shapes', 'GFL, ATSS teacher', 'GFL alone', 'ATSS teacher', {
        'plain imitation': CONFLICT[0], 'CrossKD': CONFLICT[1]}),
    Comparison('shapes', 'GFL, RetinaNet teacher (1 anchor)', 'GFL alone',
               ONE_ANCHOR, {
                   'plain imitation': CONFLICT[2], 'CrossKD': CONFLICT[3]}),
    Comparison('shapes', 'GFL, RetinaNet teacher (9 anchors)', 'GFL alone',
               'RetinaNet teacher', {'CrossKD': CONFLICT[4]}),
)
