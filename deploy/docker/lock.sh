#!/bin/sh
# Writes the lock files anew: the newest versions that setup.cfg allows, with the hashes of every wheel. Needs uv.
#   requirements.lock        the gateway, with the extra "postgres"
#   requirements-local.lock  what the extra "local" adds to it
#   requirements-build.lock  what builds the wheel
set -eu
cd "$(dirname "$0")/../.."
locks=deploy/docker

lock() { # INPUT FILE [FLAGS...]
    input=$1 output=$2
    shift 2
    {
        echo "# Made by deploy/docker/lock.sh from setup.cfg: change that, and run it again."
        uv pip compile "$input" --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
            --no-emit-index-url --no-emit-find-links --upgrade "$@"
    } > "$output.new"
    mv "$output.new" "$output"
}

lock setup.cfg $locks/requirements.lock --extra postgres
lock setup.cfg $locks/requirements-local.lock --extra postgres --extra local --constraints $locks/requirements.lock
sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml | lock - $locks/requirements-build.lock
