#!/usr/bin/env bash
# Train the embedded model on a machine with a GPU that nothing can be downloaded to, in a few short calls.
#
#   here   tools/gpu_train.sh pack DATA        fill .gpu/: parts of at most 36 MiB, one part per call, and wheels
#   there  tools/gpu_train.sh receive N        keep part N (all of them, one call each; carry .gpu/part-N)
#   there  tools/gpu_train.sh smoke TOTAL OUT  two minutes: does every stage run, how fast, how much memory; from that,
#                                              the steps of each stage for TOTAL minutes of training
#   there  tools/gpu_train.sh train MINUTES OUT [OPTIONS OF opensam train]
#                                              train or go on for so long; weights and logs arrive in OUT in pieces of
#                                              15 MiB
#   here   tools/gpu_train.sh join OUT FILE    put the pieces together
#
# "There" keeps everything in $OPENSAM_STORE (default /tmp/opensam-gpu) from call to call. .gpu/ is not in git.
set -euo pipefail
cd "$(dirname "$0")/.."
store="${OPENSAM_STORE:-/tmp/opensam-gpu}"
recipe="${OPENSAM_RECIPE:-tiny_gpu}"

# What a common CUDA image lacks; torch, numpy, pillow, opencv and safetensors are there.
wheels=(pydantic pydantic-core annotated-types typing-inspection typing-extensions pycocotools safetensors filelock
        lightning-fabric lightning-utilities typer rich markdown-it-py mdurl pygments shellingham click)

pack() {
    local data="$1" part=1 size=0 limit=$((36 * 1024 * 1024))
    rm -rf .gpu && mkdir -p .gpu/part-1/data .gpu/part-1/wheels
    python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -c constraints.txt \
        -d .gpu/part-1/wheels "${wheels[@]}"
    size=$(du -sb .gpu/part-1 | cut -f1)
    for shard in "$data"/*.tar; do
        local bytes
        bytes=$(stat -c %s "$shard")
        if ((size + bytes > limit)); then
            part=$((part + 1)) size=0
            mkdir -p ".gpu/part-$part/data"
        fi
        cp "$shard" ".gpu/part-$part/data/"
        size=$((size + bytes))
    done
    # Weights to start from, when there are any: the released ones.
    if [ -f src/opensam/weights/opensam_tiny.safetensors ]; then
        cp src/opensam/weights/opensam_tiny.safetensors .gpu/part-1/init.safetensors
    fi
    du -sh .gpu/part-*
}

receive() {
    mkdir -p "$store"
    cp -r ".gpu/part-$1/." "$store/"
    if [ -d "$store/wheels" ] && [ ! -d "$store/site" ]; then
        python3 -m pip install -q --no-index --no-deps --no-compile --target "$store/site" "$store"/wheels/*.whl
    fi
    du -sh "$store"
}

opensam() {
    PYTHONUNBUFFERED=1 PYTHONPATH="src:$store/site" python3 -m opensam "$@"
}

# One stage of the recipe, from the weights of the stage before.
stage() {
    local number="$1" out="$2" before="$store/run/$(($1 - 1))/stage-1/model.safetensors"
    shift 2
    if [ ! -f "$before" ]; then before="$store/init.safetensors"; fi
    local init=()
    if [ -f "$before" ]; then init=(--init "$before"); fi
    opensam train "$recipe" --stage "$number" --data "$store/data" --out "$out" "${init[@]}" "$@"
}

smoke() {
    local minutes="$1" out="$2" number
    nvidia-smi --query-gpu=name,memory.total --format=csv || true
    rm -rf "$store/smoke" "$store/steps"
    for number in 1 2 3; do
        timeout 40 bash -c "$self; stage $number '$store/smoke/$number' --set log_every=10 --set save_every=1000" || [ $? = 124 ]
        nvidia-smi --query-gpu=memory.used,utilization.gpu --format=csv,noheader || true
        cp "$store/smoke/$number/stage-1/log.csv" "$out/smoke-$number.csv"
        # The speed of the last line (the second column), the batch of the recipe, a share of the minutes.
        python3 - "$store/smoke/$number/stage-1" "$number" "$minutes" <<'PYTHON' >> "$store/steps"
import csv, json, pathlib, sys
folder, number, minutes = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
config = json.loads((folder / "run.json").read_text())["config"]
speed = float(list(csv.DictReader((folder / "log.csv").open()))[-1]["images_per_second"])
share = {1: 0.3, 2: 0.4, 3: 0.3}[number]
print(number, max(1, int(share * 60 * minutes * speed / (config["batch_size"] * config["accumulate"] * config["devices"]))))
PYTHON
    done
    rm -rf "$store/smoke"
    cat "$store/steps"
}

train() {
    local minutes="$1" out="$2" number steps until=$(($(date +%s) + $1 * 60))
    shift 2
    while read -r number steps; do
        timeout $((until - $(date +%s) > 1 ? until - $(date +%s) : 1)) \
            bash -c "$self; stage \"\$@\"" _ "$number" "$store/run/$number" --set "steps=$steps" "$@" || [ $? = 124 ]
        cp "$store/run/$number/stage-1/log.csv" "$out/log-$number.csv" || true
    done < "$store/steps"
    local last
    last=$(ls -d "$store"/run/*/stage-1/model.safetensors | tail -n 1)
    cp "$(dirname "$last")/run.json" "$out/"
    split -b 15M -d "$last" "$out/weights-"
    ls -l "$out"
}

join() {
    cat "$1"/weights-* > "$2"
    ls -l "$2"
}

self="store='$store' recipe='$recipe'; $(declare -f opensam stage)"
case "${1:-}" in
    pack | receive | smoke | train | join) "$@" ;;
    *) sed -n '2,15p' "$0"; exit 2 ;;
esac
