#!/usr/bin/env bash
# Train the embedded model on a machine with a GPU that nothing can be downloaded to, in a few short calls.
#
#   here   tools/gpu_train.sh pack DATA        fill .gpu/: parts of at most 36 MiB, one part per call, and wheels
#   there  tools/gpu_train.sh receive N        keep part N (all of them, one call each; carry .gpu/part-N)
#   there  tools/gpu_train.sh smoke OUT        one minute: does it run, how fast, how much memory
#   there  tools/gpu_train.sh train MINUTES OUT [OPTIONS OF opensam train]
#                                              train or go on; weights and log arrive in OUT in pieces of 15 MiB
#   here   tools/gpu_train.sh join OUT FILE    put the pieces together
#
# "There" keeps everything in $OPENSAM_STORE (default /tmp/opensam-gpu) from call to call. .gpu/ is not in git.
set -euo pipefail
cd "$(dirname "$0")/.."
store="${OPENSAM_STORE:-/tmp/opensam-gpu}"

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

smoke() {
    nvidia-smi --query-gpu=name,memory.total --format=csv || true
    rm -rf "$store/smoke"
    timeout 60 bash -c "$(declare -f opensam); store='$store'; opensam train tiny_gpu --data '$store/data' \
        --out '$store/smoke' --set log_every=20 --set save_every=20" || [ $? = 124 ]
    cp "$store"/smoke/stage-1/log.csv "$1/smoke.csv"
    nvidia-smi --query-gpu=memory.used,utilization.gpu --format=csv || true
}

train() {
    local minutes="$1" out="$2" init=()
    shift 2
    if [ -f "$store/init.safetensors" ]; then init=(--init "$store/init.safetensors"); fi
    timeout $((minutes * 60)) bash -c "$(declare -f opensam); store='$store'; opensam \"\$@\"" _ \
        train tiny_gpu --data "$store/data" --out "$store/run" "${init[@]}" "$@" || [ $? = 124 ]
    local last
    last=$(ls -d "$store"/run/stage-* | tail -n 1)
    cp "$last/log.csv" "$last/run.json" "$out/"
    split -b 15M -d "$last/model.safetensors" "$out/weights-"
    ls -l "$out"
}

join() {
    cat "$1"/weights-* > "$2"
    ls -l "$2"
}

case "${1:-}" in
    pack | receive | smoke | train | join) "$@" ;;
    *) sed -n '2,13p' "$0"; exit 2 ;;
esac
