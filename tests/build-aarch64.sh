#!/usr/bin/env bash
# Builds the static agent for aarch64 Linux into target/aarch64-unknown-linux-gnu/agent/bench-agent with
# Debian's rustc-web (BENCH_CROSS_RUSTC names another one). No C code is compiled; gcc only links.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTC="${BENCH_CROSS_RUSTC:-/usr/bin/rustc}"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
cargo build --locked --profile agent --no-default-features --bin bench-agent --target aarch64-unknown-linux-gnu
