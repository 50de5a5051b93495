#!/usr/bin/env bash
# A server that speaks S3, for the tests of the history, as requirements.txt pins it; into target/s3.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p target/s3
[ -x target/s3/venv/bin/python ] || python3 -m venv target/s3/venv
target/s3/venv/bin/pip install --quiet --disable-pip-version-check -r tests/s3/requirements.txt
