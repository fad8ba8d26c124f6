#!/usr/bin/env bash
# test.sh -- from nothing to tested: installs what is missing, builds in build/, runs every test.
#   tools/test.sh [ctest options]      e.g. tools/test.sh -L unit
set -euo pipefail
. "$(dirname "$0")/env.sh"
"$root/tools/setup.sh" --test
build_all ${PN_CMAKE_ARGS:-}
say "tests"
ctest --test-dir "$build" --output-on-failure "$@"
