# Sourced by demo.sh and run_tests.sh: use the active environment, or make .venv.
# If the active environment has mmdet, its packages are kept.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
set -e
if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
    [ -x .venv/bin/python ] || python3 -m venv .venv
    . .venv/bin/activate
fi
python -c 'import torch, mmengine, mmcv, mmdet' >/dev/null 2>&1 ||
    python -m pip install -r requirements.txt -c constraints.txt
# for the packages that are installed now
CONSTRAINTS=constraints.txt
python -m pip show -q onedl-mmdetection >/dev/null 2>&1 ||
    CONSTRAINTS=constraints-openmmlab.txt
for package in crosskd pytest pytest-xdist hypothesis; do
    python -m pip show -q "$package" >/dev/null 2>&1 ||
        python -m pip install -e '.[tests]' -c "$CONSTRAINTS"
done
set +e
