#!/usr/bin/env bash
# The oldest versions that pyproject.toml allows: the wheel, the main job and the tests with them.
#
#   tests/lowest.sh PYTHON [lowest-direct|highest] [TESTS...]
#
# uv makes the environment.  Without CL_ANALYZE_TORCH (a wheel or a requirement) there is no torch
# in it, and tests that need torch are skipped: nothing else may want it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
resolution=${2:-lowest-direct}
shift $(($# < 2 ? $# : 2))
if [ $# = 0 ]; then set -- tests/unit tests/reference tests/cli; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
uv venv -q -p "$python" "$work/venv"
uv build -q --wheel -o "$work" .
wheel=$(echo "$work"/*.whl)
# torch, and what brings torch along, are left to CL_ANALYZE_TORCH
echo "torch ; sys_platform == 'never'" > "$work/without-torch"
extras=(--extra dask --extra formats)
if [ -n "${CL_ANALYZE_TORCH:-}" ]; then
  extras+=(--extra training)
fi
# requirements of the project file are direct ones, those of a wheel are not: uv takes the newest
uv pip install -q -p "$work/venv" --resolution "$resolution" --overrides "$work/without-torch" \
  -r pyproject.toml "${extras[@]}" "pytest>=8.2" "pytest-xdist>=3.6" "hypothesis>=6.100" \
  "hatchling>=1.27" "jsonschema>=4.23" "mpmath>=1.3" "pyyaml>=6" "pytorch-metric-learning>=2.5" "pytrec-eval-terrier>=0.5.6" \
  "playwright>=1.48" "safetensors>=0.4" "scikit-learn>=1.4" "xmlschema>=3.3"
uv pip install -q -p "$work/venv" --no-deps "$wheel"
if [ -n "${CL_ANALYZE_TORCH:-}" ]; then
  uv pip install -q -p "$work/venv" --no-deps "$CL_ANALYZE_TORCH"
  uv pip install -q -p "$work/venv" sympy networkx filelock
fi
uv pip list -q -p "$work/venv"

"$work/venv/bin/cl-analyze" report sample_data/*.npz --out "$work/out" > /dev/null
for file in report.html results.json tables/penalty_curve.csv figures/trade_off.png; do
  test -s "$work/out/$file"
done
"$work/venv/bin/python" -m pytest -q "$@"
