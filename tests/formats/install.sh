#!/usr/bin/env bash
# Readers of our files that are not ours, as requirements.txt pins them, and Jenkins' schema of JUnit files, which
# pytest's source brings along; into target/formats.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p target/formats
[ -x target/formats/venv/bin/python ] || python3 -m venv target/formats/venv
target/formats/venv/bin/pip install --quiet --disable-pip-version-check -r tests/formats/requirements.txt
if [ ! -f target/formats/junit-10.xsd ]; then
  target/formats/venv/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
    --dest target/formats pytest==8.4.2
  tar -xzf target/formats/pytest-8.4.2.tar.gz --directory target/formats --strip-components=3 \
    pytest-8.4.2/testing/example_scripts/junit-10.xsd
fi
