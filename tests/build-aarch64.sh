#!/usr/bin/env bash
# Builds the static agent for aarch64 Linux, also into target/aarch64-unknown-linux-gnu/agent/bench-agent, where
# the tests under emulation look for it.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo run --release --locked --quiet -- agents build aarch64
