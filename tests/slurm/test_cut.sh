#!/bin/bash
# test_cut.sh -- the cable of a node is pulled in mid-step, under a real Slurm of two nodes.  A job over both nodes is requeued, waits for the node,
# resumes, and ends with the weights of an undisturbed run of one rank (exact sums).  A job of that node alone does not notice and would run on: it is requeued on the other
# node, takes its folder over, and the former copy stops by itself.  Needs root and Debian's slurm-wlm and munge; skipped without.
. "$SOURCE_DIR/tests/slurm/common.sh"

"$PNEUMA" synth phantom --images 60 --seed 4 > log.synth 2>&1 || say "synth: $(tail -n 2 log.synth)"
"$PNEUMA" ingest phantom shards --size 48 > log.ingest 2>&1 || say "ingest: $(tail -n 2 log.ingest)"
cat > run.yaml << 'Y'
data: {path: shards}
model: {filters1: 8, filters2: 12, hidden: 16, dropout: 0.2}
train: {batch: 8, epochs: 8, threads: 1, device: ref, checkpoint_steps: 5, exact: true, leaves: 2}
out: {plots: false}
Y
"$PNEUMA" train run.yaml out.path=ref > log.ref 2>&1 || say "undisturbed: $(tail -n 3 log.ref)"
want=$(field ref/run.json weights_sha256)
[ -n "$want" ] || say 'no weights'
steps=$(($(wc -l < ref/steps.csv) - 1))
[ $steps -ge 40 ] && [ $steps -lt 50 ] || say "$steps steps: the moments below do not fit"

# Each sleeps in its 30th step, the first start only: afterwards fewer are left.  checkpoint_steps=5 leaves step 25.  A step of exact sums reads
# once per leaf: one on each of two ranks.
slow() { # slow RANK SECONDS READ NAME SBATCH_OPTIONS...
  local fault=$1:read:sleep=$2:$3 name=$4
  shift 4
  on_ctl env "PN_FAULT=$fault" sbatch --parsable -t 5 --cpus-per-task=1 --ntasks-per-node=1 -o "log.job-$name" "$@" \
    jobs/train.sbatch run.yaml "out.path=run-$name" run.watchdog_s=100
}
both=$(slow 1 6 30 both -N2 -n2)
alone=$(slow 0 50 60 alone -N1 -n1)
within 20 grep -qs 'process sleeps' log.job-both || say "the job over both nodes: $(tail -n 3 log.job-both)"
within 20 grep -qs 'process sleeps' log.job-alone || say "the job of one node: $(tail -n 3 log.job-alone)"
node=$(on_ctl squeue -h -j "$alone" -o %N)
slept=$SECONDS

# Two copies of one job: the second does not get in, with or without resuming, from whichever node.
cp run-alone/.run.lock lock.before
for resume in false true; do
  on_ctl srun -t 1 -N1 -n1 --mpi=pmix "$PNEUMA" train run.yaml out.path=run-alone train.resume=$resume > log.copy 2>&1 && say 'a second copy got in'
  grep -qE "another training \(process [0-9]+ on $node\) is writing to run-alone" log.copy || say "the second copy says: $(cat log.copy)"
done
cmp -s lock.before run-alone/.run.lock || say 'the second copy touched the lock'
echo "== $node is cut off; the jobs are at $(ls run-both/checkpoints run-alone/checkpoints | tr '\n' ' ')"
"$cluster" cut "$node"

started_again() { [ "$(on_ctl squeue -h -j "$1" -o '%T %N')" = "RUNNING $2" ] || [ -f "$3/run.json" ]; }
other=nodeB
[ "$node" = nodeB ] && other=nodeA
within 60 started_again "$alone" $other run-alone || say "not requeued on $other: $(on_ctl squeue)"
echo "== after $((SECONDS - slept)) s the job of one node runs on $other"
within 20 test -f run-alone/run.json || say "the requeued job of one node: $(tail -n 5 log.job-alone)"
[ $((SECONDS - slept)) -lt 48 ] || say 'too late: the former copy has woken up already'
grep -q "job $alone was started again (1): it takes over from process [0-9]* on $node" log.job-alone || say "no word of taking over: $(tail -n 5 log.job-alone)"
(cd run-alone && find . -type f ! -name log.txt | sort | xargs sha256sum) > before.txt
within 40 grep -qE '(was removed|has taken over).*this training stops' log.job-alone || say "the former copy did not stop: $(tail -n 3 log.job-alone)"
(cd run-alone && find . -type f ! -name log.txt | sort | xargs sha256sum) > after.txt
cmp -s before.txt after.txt || say "the former copy wrote: $(diff before.txt after.txt)"
[ "$(field run-alone/run.json weights_sha256)" = "$want" ] || say 'one node: other weights'

echo "== $node is back after $((SECONDS - slept)) s"
[ -f run-both/run.json ] && say 'the job over both nodes has ended without the node'
"$cluster" heal "$node"
"$cluster" recover "$node"
within 40 test -f run-both/run.json || say "the job over both nodes: $(on_ctl squeue; tail -n 5 log.job-both)"
grep -q '^resume .*step 2[0-9] of' log.job-both || say "it did not resume: $(tail -n 5 log.job-both)"
[ "$(field run-both/run.json weights_sha256)" = "$want" ] || say 'two nodes: other weights'
"$cluster" wait "$both" '' || say 'the job over both nodes did not end'
echo "== all done after $SECONDS s"
exit $bad
