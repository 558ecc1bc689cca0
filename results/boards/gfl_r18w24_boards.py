"""The teacher: GFL, ResNet-18 with three eighths of the channels."""
_base_ = ['crosskd::demo/gfl_r18w24_shapes.py', './boards_data.py']
model = dict(bbox_head=dict(num_classes=6))
train_dataloader = _base_.boards.train
val_dataloader = test_dataloader = _base_.boards.val
val_evaluator = test_evaluator = _base_.boards.evaluator
