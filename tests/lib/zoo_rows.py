"""The rows of ``docs/detectors.md``: configs of mmdet's to take steps with.

``ROWS`` has a config of every folder of mmdet's configs whose models train on
boxes or masks of objects, with a small backbone.  ``OTHERS`` has the folders
without one.
"""
from dataclasses import dataclass, field

#: the two teachers: one of the student's config, and a RetinaNet
LIKE_IT, RETINA = 'like it', 'RetinaNet'
RETINA_CONFIG = 'retinanet/retinanet_r18_fpn_1x_coco'


@dataclass(frozen=True)
class Row:
    """A config of mmdet's, and what it takes to make it small.

    Attributes:
        config: its path below mmdet's configs, without ``.py``.
        narrower: what numbers of channels are divided by.
        kept: numbers of channels that stay, because mmdet's code counts on
            them.
        change: of the model's config, after it is made small.
        side: of the images, in pixels.
        taps: by the teacher, the module at which the features of both are
            compared, if it is not the default one.
    """
    config: str
    narrower: int = 8
    kept: tuple[int, ...] = ()
    change: dict = field(default_factory=dict)
    side: int = 128
    taps: dict = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return self.config.split('/')[0]


DETR = (128, 256)
HOURGLASS = dict(backbone=dict(
    feat_channel=32, stage_channels=(32, 32, 48, 48, 48, 64)))
ROWS = {row.config: row for row in (
    Row('albu_example/mask-rcnn_r50_fpn_albu-1x_coco'),
    Row('atss/atss_r18_fpn_8xb8-amp-lsj-200e_coco'),
    Row('autoassign/autoassign_r50-caffe_fpn_1x_coco'),
    # 593 weights of dynamic convolutions are written out
    Row('boxinst/boxinst_r50_fpn_ms-90k_coco', kept=(16, )),
    Row('bytetrack/yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_test-'
        'mot17halfval'),
    Row('carafe/faster-rcnn_r50_fpn-carafe_1x_coco'),
    Row('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco'),
    Row('cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco'),
    Row('centernet/centernet_r18_8xb16-crop512-140e_coco',
        taps={RETINA: 'backbone'}),
    Row('centripetalnet/centripetalnet_hourglass104_16xb6-crop511-210e-mstest_'
        'coco', change=HOURGLASS, taps={RETINA: 'backbone'}),
    Row('cityscapes/faster-rcnn_r50_fpn_1x_cityscapes'),
    Row('condinst/condinst_r50_fpn_ms-poly-90k_coco_instance'),
    Row('conditional_detr/conditional-detr_r50_8xb2-50e_coco', kept=DETR),
    Row('convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco',
        narrower=1),
    Row('cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco',
        change=HOURGLASS, taps={RETINA: 'backbone'}),
    Row('crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman'),
    Row('dab_detr/dab-detr_r50_8xb2-50e_coco'),
    Row('dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco'),
    Row('dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco'),
    # the deformable convolution wants 3×3 locations of stride 128
    Row('ddod/ddod_r50_fpn_1x_coco', side=384),
    Row('ddq/ddq-detr-4scale_r50_8xb2-12e_coco', kept=DETR),
    Row('deepfashion/mask-rcnn_r50_fpn_15e_deepfashion'),
    Row('deformable_detr/deformable-detr_r50_16xb2-50e_coco', kept=DETR),
    Row('detectors/cascade-rcnn_r50-rfp_1x_coco'),
    Row('detr/detr_r18_8xb2-500e_coco'),
    Row('dino/dino-4scale_r50_8xb2-12e_coco', kept=DETR),
    Row('double_heads/dh-faster-rcnn_r50_fpn_1x_coco'),
    Row('dsdl/voc07'),
    Row('dyhead/atss_r50_fpn_dyhead_1x_coco'),
    Row('dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco'),
    Row('efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco', narrower=1),
    Row('empirical_attention/faster-rcnn_r50-attn0010_fpn_1x_coco'),
    Row('fast_rcnn/fast-rcnn_r50_fpn_1x_coco'),
    Row('faster_rcnn/faster-rcnn_r50_fpn_1x_coco'),
    Row('fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-'
        'lsj-200e_coco'),
    Row('foveabox/fovea_r50_fpn_4xb4-1x_coco'),
    Row('fpg/retinanet_r50_fpg-chn128_crop640_50e_coco'),
    Row('free_anchor/freeanchor_r50_fpn_1x_coco'),
    Row('fsaf/fsaf_r50_fpn_1x_coco'),
    Row('gcnet/mask-rcnn_r50-gcb-r4-c3-c5_fpn_1x_coco'),
    Row('gfl/gfl_r50_fpn_1x_coco'),
    Row('ghm/retinanet_r50_fpn_ghm-1x_coco'),
    Row('gn/mask-rcnn_r50_fpn_gn-all_2x_coco'),
    Row('gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco'),
    Row('grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco'),
    Row('groie/faste-rcnn_r50_fpn_groie_1x_coco'),
    Row('guided_anchoring/ga-retinanet_r50_fpn_1x_coco'),
    Row('hrnet/fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco'),
    Row('htc/htc_r50_fpn_1x_coco'),
    Row('instaboost/mask-rcnn_r50_fpn_instaboost-4x_coco'),
    Row('lad/lad_r50-paa-r101_fpn_2xb8_coco_1x'),
    Row('ld/ld_r18-gflv1-r101_fpn_1x_coco'),
    Row('legacy_1.x/retinanet_r50_fpn_1x_coco_v1'),
    Row('libra_rcnn/libra-retinanet_r50_fpn_1x_coco'),
    Row('lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1'),
    Row('mask2former/mask2former_r50_8xb2-lsj-50e_coco'),
    Row('mask_rcnn/mask-rcnn_r50_fpn_1x_coco'),
    Row('maskformer/maskformer_r50_ms-16xb1-75e_coco'),
    Row('ms_rcnn/ms-rcnn_r50_fpn_1x_coco'),
    Row('nas_fcos/nas-fcos_r50-caffe_fpn_fcoshead-gn-head_4xb4-1x_coco'),
    Row('nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco'),
    Row('objects365/retinanet_r50_fpn_1x_objects365v1'),
    Row('openimages/retinanet_r50_fpn_32xb2-1x_openimages'),
    Row('paa/paa_r50_fpn_1x_coco'),
    Row('pafpn/faster-rcnn_r50_pafpn_1x_coco'),
    Row('panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco'),
    Row('pascal_voc/retinanet_r50_fpn_1x_voc0712'),
    Row('pisa/retinanet-r50_fpn_pisa_1x_coco'),
    Row('point_rend/point-rend_r50-caffe_fpn_ms-1x_coco'),
    Row('pvt/retinanet_pvtv2-b0_fpn_1x_coco'),
    Row('queryinst/queryinst_r50_fpn_1x_coco'),
    Row('regnet/faster-rcnn_regnetx-400MF_fpn_ms-3x_coco', narrower=1),
    Row('reppoints/reppoints-moment_r50_fpn_1x_coco'),
    Row('res2net/faster-rcnn_res2net-101_fpn_2x_coco'),
    Row('resnest/faster-rcnn_s50_fpn_syncbn-backbone+head_ms-range-1x_coco'),
    Row('resnet_strikes_back/retinanet_r50-rsb-pre_fpn_1x_coco'),
    Row('retinanet/retinanet_r18_fpn_1x_coco'),
    Row('rpn/rpn_r50_fpn_1x_coco'),
    Row('rtmdet/rtmdet_tiny_8xb32-300e_coco'),
    Row('rtmdet/rtmdet-ins_tiny_8xb32-300e_coco'),
    Row('sabl/sabl-retinanet_r50_fpn_1x_coco'),
    Row('scnet/scnet_r50_fpn_1x_coco'),
    Row('scratch/faster-rcnn_r50-scratch_fpn_gn-all_6x_coco'),
    Row('seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1'),
    Row('selfsup_pretrain/mask-rcnn_r50-mocov2-pre_fpn_1x_coco'),
    Row('simple_copy_paste/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_'
        '32xb2-ssj-90k_coco'),
    Row('soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-'
        'coco'),
    Row('solo/solo_r18_fpn_8xb8-lsj-200e_coco'),
    Row('solov2/solov2-light_r18_fpn_ms-3x_coco'),
    Row('sort/faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval'),
    Row('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco'),
    Row('ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco', narrower=1,
        side=320),
    Row('strong_baselines/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_'
        'lsj-50e_coco'),
    Row('strongsort/yolox_x_8xb4-80e_crowdhuman-mot20train_test-mot20test'),
    Row('swin/retinanet_swin-t-p4-w7_fpn_1x_coco'),
    Row('timm_example/retinanet_timm-tv-resnet50_fpn_1x_coco', narrower=1),
    Row('tood/tood_r50_fpn_1x_coco'),
    Row('tridentnet/tridentnet_r50-caffe_1x_coco', narrower=1,
        taps={LIKE_IT: 'backbone.layer2', RETINA: 'backbone.layer2'}),
    Row('v3det/fcos_r50_fpn_8x4_sample1e-3_mstrain_v3det_2x'),
    Row('vfnet/vfnet_r50_fpn_1x_coco'),
    Row('wider_face/retinanet_r50_fpn_1x_widerface'),
    Row('yolact/yolact_r50_1xb8-55e_coco'),
    Row('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco', narrower=1),
    Row('yolof/yolof_r50-c5_8xb8-1x_coco'),
    Row('yolox/yolox_nano_8xb8-300e_coco'),
)}
#: folders without a detector to distil, by the reason
OTHERS = {
    'parts of the other configs': ('_base_', 'common'),
    'trackers, whose models take videos': (
        'deepsort', 'mask2former_vis', 'masktrack_rcnn', 'ocsort', 'qdtrack'),
    'models of lanes, without boxes': ('clrnet', ),
    'models that tell persons apart, without boxes': ('reid', ),
    'detectors with text prompts, whose language model is a download': (
        'glip', 'grounding_dino', 'mm_grounding_dino'),
    'models of detectron2': ('misc', )}
