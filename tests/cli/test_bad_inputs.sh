#!/bin/bash
# test_bad_inputs.sh -- docs/bad_inputs.md has a line for each of the 60 rows, the test it names is
# there, and its codes are those that docs/shards.md explains.
set -u
. "$SOURCE_DIR/tests/lib.sh"
page=$SOURCE_DIR/docs/bad_inputs.md
for row in $(seq 60); do
  line=$(grep -E "^\| $row \|" "$page") || say "row $row is missing"
  for test in $(echo "${line##*| }" | tr -d ',|'); do
    if [ "$test" = table ]; then
      grep -qE "^ *\{$row, *\$|^ *\{$row, *\"" "$SOURCE_DIR"/tests/unit/test_dicom_{table,streams,files}.c || say "row $row is in no table"
      continue
    fi
    file=$(find "$SOURCE_DIR/tests" -name "${test%%:*}")
    [ -n "$file" ] && grep -q "${test#*:}" "$file" || say "row $row: there is no $test"
  done
  for code in $(echo "$line" | cut -d'|' -f4 | grep -oE '`[a-z0-9]+(_[a-z0-9]+)+`|`archive`|`directory`|`aspect`' | tr -d '`'); do
    grep -q "\`$code\`" "$SOURCE_DIR/docs/shards.md" || say "row $row: docs/shards.md does not know $code"
  done
done
finish bad_inputs
