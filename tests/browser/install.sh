#!/usr/bin/env bash
# What the browser test needs beside a browser, as package-lock.json pins it, into target/browser.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p target/browser
cp tests/browser/package.json tests/browser/package-lock.json target/browser/
npm ci --prefix target/browser --no-audit --no-fund --ignore-scripts
