#!/bin/sh
# Runs the conformance suite on a Jetson, on the providers of ONNX Runtime that use its GPU:
#   ORT_DYLIB_PATH=/path/to/libonnxruntime.so cross/verify-jetson.sh
# The library must have been built with CUDA and TensorRT for this JetPack; no registry offers one for every release.
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
: "${ORT_DYLIB_PATH:?name the library of ONNX Runtime for this board}"
[ $# -gt 0 ] || set -- ort:cuda ort:tensorrt

echo "board: $model"
head -n 1 /etc/nv_tegra_release 2>/dev/null || true
nvpmodel -q 2>/dev/null || true

failed=
for target in "$@"; do
    echo "== $target"
    EDGEFRONT_TARGET=$target cargo test --package edgefront-tests --features named-target --test conformance -- \
        --exact the_named_target_conforms || failed="$failed $target"
done
[ -z "$failed" ] || {
    echo "did not conform:$failed" >&2
    exit 1
}
