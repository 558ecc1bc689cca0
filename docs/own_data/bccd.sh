#!/usr/bin/env bash
# The run on BCCD of docs/own_data.md: small detectors, for two CPU cores.
# Usage: bccd.sh FOLDER_WITH_BCCD, in an environment that has crosskd.
set -e
export OMP_NUM_THREADS=1
python -m crosskd make_config --data "$1" --out my_cells \
    --student crosskd::demo/gfl_r18w8_shapes.py \
    --teacher crosskd::demo/gfl_r18w24_shapes.py
sed -i 's/^SCALE = .*/SCALE = (160, 120)/; s/^BATCH_SIZE = .*/BATCH_SIZE = 8/' \
    my_cells/data.py
python -m crosskd distil my_cells --alone
