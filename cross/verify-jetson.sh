#!/bin/sh
# Runs the conformance suite on a Jetson, on JetPack's TensorRT and on the providers of ONNX Runtime that use the GPU:
#   ORT_DYLIB_PATH=/path/to/libonnxruntime.so cross/verify-jetson.sh
# The library must have been built with CUDA and TensorRT for this JetPack; no registry offers one for every release.
# Without the variable TensorRT is tried alone, through its trtexec, and measured once.
# Needs a clone of the repository and Rust on the board. Other targets are named as arguments: ort:cuda tflite ...
set -eu

cd "$(dirname -- "$0")/.."
model=
[ ! -f /proc/device-tree/model ] || model=$(tr -d '\0' </proc/device-tree/model)
case $model in
*Jetson* | *Tegra* | *NVIDIA*) ;;
*)
    echo "this is no Jetson: ${model:-its device tree names no board}" >&2
    exit 1
    ;;
esac
if [ $# -eq 0 ]; then
    set -- tensorrt
    if [ -n "${ORT_DYLIB_PATH:-}" ]; then
        set -- tensorrt ort:cuda ort:tensorrt
    else
        echo "ORT_DYLIB_PATH names no library of ONNX Runtime for this board; its providers are left out" >&2
    fi
fi

echo "board: $model"
head -n 1 /etc/nv_tegra_release 2>/dev/null || true
nvpmodel -q 2>/dev/null || true

failed=
for target in "$@"; do
    echo "== $target"
    case $target in
    ort | ort:*) : "${ORT_DYLIB_PATH:?name the library of ONNX Runtime for this board}" ;;
    tensorrt | tensorrt:*)
        cargo run --release --package edgefront -- bench tests/fixtures/models/resnet18.onnx --runtime "$target" ||
            failed="$failed $target(bench)"
        ;;
    esac
    EDGEFRONT_TARGET=$target cargo test --package edgefront-tests --features named-target --test conformance -- \
        --exact the_named_target_conforms || failed="$failed $target"
done
[ -z "$failed" ] || {
    echo "did not conform:$failed" >&2
    exit 1
}
