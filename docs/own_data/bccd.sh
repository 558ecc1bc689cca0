#!/usr/bin/env bash
# The run on BCCD that docs/own_data.md reports: configs/own_data copied and edited as
# README says, and made small enough for two CPU cores.
# Usage: bccd.sh FOLDER_WITH_BCCD, from the repository, in an environment that has crosskd.
set -e
export OMP_NUM_THREADS=1
REPO=$PWD
DATA=$(realpath "$1")
mkdir -p work_dirs/bccd/data
cd work_dirs/bccd
ln -sfn "$DATA" data/own
rm -rf my
cp -r "$REPO/configs/own_data" my
sed -i "s/^classes = .*/classes = ('RBC', 'WBC', 'Platelets')/; s/^scale = .*/scale = (160, 120)/" \
    my/gfl_r50_own_data.py
cat >> my/gfl_r50_own_data.py <<'EOF'

# small, and from random weights
model['backbone'] = dict(
    depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None)
model['neck'] = dict(in_channels=[32, 64, 128, 256], out_channels=32)
model['bbox_head'].update(in_channels=32, feat_channels=32)
train_dataloader.update(batch_size=8, num_workers=0, persistent_workers=False)
val_dataloader.update(batch_size=8, num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=50),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)
]
train_cfg = dict(val_interval=4)
randomness = dict(seed=0)
EOF
cat >> my/gfl_r18_own_data.py <<'EOF'
model['backbone'].update(base_channels=8, init_cfg=None)
model['neck'].update(in_channels=[8, 16, 32, 64])
EOF

train() {
    echo "training $1, see work_dirs/bccd/$1.log"
    python "$REPO/tools/train.py" "my/$1.py" > "$1.log" 2>&1
}

train gfl_r50_own_data &
train gfl_r18_own_data
wait $!
train crosskd_r18_r50_own_data
python "$REPO/tools/compare.py" work_dirs/gfl_r50_own_data work_dirs/gfl_r18_own_data \
    work_dirs/crosskd_r18_r50_own_data --names teacher alone CrossKD
# the same AP through the plain student's config
python "$REPO/tools/test.py" my/gfl_r18_own_data.py \
    work_dirs/crosskd_r18_r50_own_data/epoch_12.pth | grep bbox_mAP_copypaste
