"""The configs that mmdet ships, as students: the table of docs/detectors.md.
"""
import pytest
from families import quick_cases
from zoo import CONFIGS, NEEDS_PACKAGE
from zoo_rows import OTHERS, ROWS
from zoo_table import PAGE, outcomes, page, read_page

NOT_INSTALLED = NEEDS_PACKAGE.rpartition('}')[2]
#: one dense, one two-stage, one DETR, and one with masks
QUICK = ('fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-'
         'amp-lsj-200e_coco', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
         'detr/detr_r18_8xb2-500e_coco',
         'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance')


@pytest.mark.parametrize('config', quick_cases(QUICK, ROWS))
def test_the_table_is_what_happens(config):
    if not (CONFIGS / f'{config}.py').exists():
        pytest.skip('this mmdet has no such config')
    found, expected = outcomes(ROWS[config]), read_page()[config].here
    if found != expected and any(
            NOT_INSTALLED in said for said in (*found, *expected)):
        pytest.skip(f'other packages are installed: {found}, not {expected}')
    assert found == expected


def test_every_folder_of_mmdet_has_a_row_or_a_reason():
    known = {row.folder for row in ROWS.values()}.union(*OTHERS.values())
    assert {path.name for path in CONFIGS.iterdir()
            if path.is_dir()} <= known


def test_the_page_is_as_it_is_made():
    assert page(read_page()) == PAGE.read_text()
