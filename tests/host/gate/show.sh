#!/bin/sh
# What `bench gate` answers to a model that was made slower, to one that was broken and to one that did not change.
#
#     cargo build --release && BENCH=target/release/bench tests/host/gate/show.sh
#
# One line per gate on stdout; what the gates say themselves goes to stderr. About two minutes.
set -eu
bench=${BENCH:-bench}
here=$(cd "$(dirname "$0")" && pwd)
models=$here/../../../suites/models/fashion_dscnn
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

gate() {
    mkdir -p "$work/$1/base" "$work/$1/head"
    cp "$2" "$work/$1/base/model.onnx"
    cp "$3" "$work/$1/head/model.onnx"
    code=0
    "$bench" gate --base "$work/$1/base" --head "$work/$1/head" --data vision --out "$work/runs" >&2 || code=$?
    echo "$1: exit code $code"
}

gate slower "$models/model_fp32.onnx" "$here/slower.onnx"
gate broken "$models/model_int8.onnx" "$here/broken.onnx"
gate unchanged "$models/model_int8.onnx" "$models/model_int8.onnx"
