import copy

from mmengine.registry import DATASETS

from .data_checks import check_classes
from .data_checks import check_data as check_files


def check_data(key, loader, model, evaluator=None):
    if not isinstance(loader, dict):
        return loader
    check_files(key, loader.get('dataset'))
    dataset = DATASETS.build(loader['dataset'])
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    check_classes(key, dataset, model)
    loader = copy.copy(loader)
    loader['dataset'] = dict(type=lambda: dataset)
    return loader
