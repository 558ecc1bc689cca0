#!/usr/bin/env bash
# The run on BCCD that docs/own_data.md reports: configs/own_data copied and edited as
# it says, shrunk through --cfg-options. Usage: bccd.sh FOLDER_WITH_BCCD, from the
# repository, in an environment that has crosskd.
set -e
REPO=$PWD
DATA=$(realpath "$1")
mkdir -p work_dirs/bccd/data
cd work_dirs/bccd
ln -sfn "$DATA" data/own
rm -rf my
cp -r "$REPO/configs/own_data" my
sed -i "s/^classes = .*/classes = ('RBC', 'WBC', 'Platelets')/; s/^scale = .*/scale = (160, 120)/" my/gfl_r50_own_data.py
SMALL="model.backbone.norm_eval=False model.backbone.frozen_stages=-1 model.backbone.init_cfg=None model.backbone.depth=18 model.neck.out_channels=32 model.bbox_head.in_channels=32 model.bbox_head.feat_channels=32 optim_wrapper.optimizer._delete_=True optim_wrapper.optimizer.type=AdamW optim_wrapper.optimizer.lr=1e-3 train_dataloader.batch_size=8 train_dataloader.num_workers=0 train_dataloader.persistent_workers=False val_dataloader.batch_size=8 val_dataloader.num_workers=0 val_dataloader.persistent_workers=False test_dataloader.num_workers=0 test_dataloader.persistent_workers=False train_cfg.val_interval=4 param_scheduler.0.end=50 default_hooks.logger.interval=10"
T="model.backbone.base_channels=32 model.neck.in_channels=[32,64,128,256]"
S="model.backbone.base_channels=8 model.neck.in_channels=[8,16,32,64]"
cat > my/teacher_small.py <<EOF
_base_ = './gfl_r50_own_data.py'
model = dict(backbone=dict(depth=18, base_channels=32, init_cfg=None), neck=dict(in_channels=[32, 64, 128, 256], out_channels=32), bbox_head=dict(in_channels=32, feat_channels=32))
EOF
(OMP_NUM_THREADS=1 python $REPO/tools/train.py my/gfl_r50_own_data.py --cfg-options $SMALL $T > teacher.log 2>&1) &
OMP_NUM_THREADS=1 python $REPO/tools/train.py my/gfl_r18_own_data.py --cfg-options $SMALL $S > student.log 2>&1
wait
OMP_NUM_THREADS=2 python $REPO/tools/train.py my/crosskd_r18_r50_own_data.py --cfg-options $SMALL $S model.teacher_config=my/teacher_small.py > crosskd.log 2>&1
for n in "gfl_r50_own_data $T" "gfl_r18_own_data $S" "crosskd_r18_r50_own_data $S model.teacher_config=gone.py"; do set -- $n; c=$1; shift
 python $REPO/tools/test.py my/$c.py work_dirs/$c/epoch_12.pth --cfg-options $SMALL "$@" 2>&1 | grep copypaste | sed "s/^/$c /" | tee -a result.txt; done
# the student's checkpoint through the plain config
python $REPO/tools/test.py my/gfl_r18_own_data.py work_dirs/crosskd_r18_r50_own_data/epoch_12.pth --cfg-options $SMALL $S 2>&1 | grep copypaste | sed "s/^/plain config /" | tee -a result.txt
