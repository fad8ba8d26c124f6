#!/usr/bin/env bash
# Phantoms: the same seed gives the same bytes at any number of ranks; another seed does not.
set -euo pipefail
rm -rf one two three other
"$PNEUMA" -q synth one --images 7 --seed 5 >/dev/null
"$MPIEXEC" -n 2 --bind-to none "$PNEUMA" -q synth two --images 7 --seed 5 >/dev/null
"$MPIEXEC" -n 3 --bind-to none "$PNEUMA" -q synth three --images 7 --seed 5 >/dev/null
"$PNEUMA" -q synth other --images 7 --seed 6 >/dev/null

[ "$(find one -name '*.dcm' | wc -l)" = 7 ]
diff -r one two
diff -r one three
if diff -rq one other >/dev/null; then echo "seed 5 and seed 6 drew the same images"; exit 1; fi

# A folder with something in it is refused, with exit code 2 or 1 and a way out, and left as it was.
if "$PNEUMA" synth one --images 3 >refused.txt 2>&1; then echo "a full folder was accepted"; exit 1; fi
grep -q 'already holds' refused.txt
[ "$(find one -name '*.dcm' | wc -l)" = 7 ]
echo "synth: same bytes at 1, 2 and 3 ranks"
