#!/usr/bin/env bash
# Resolve pyproject.toml into locked files with hashes. No index address is written (--no-emit-index-url), and uv.lock is
# not used because it records one. Run by `make lock`.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command "make lock" "$@"; }
compile pyproject.toml -o requirements/runtime.txt
compile pyproject.toml --all-extras -o requirements/image.txt
compile pyproject.toml --all-extras --group dev -o requirements/dev.txt
compile pyproject.toml --all-extras --group dev --group bench -o requirements/bench.txt
compile --group pyproject.toml:build -o requirements/build.txt
compile --group pyproject.toml:rivals -o requirements/rivals.txt
