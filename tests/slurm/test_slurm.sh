#!/bin/bash
# test_slurm.sh -- the program under a real Slurm of two nodes (cluster.sh): ingest, DDP over both nodes, study, the batch files, pre-emption with
# requeue and resume.  Needs root and Debian's slurm-wlm and munge; skipped without.
set -u
skip() { echo "SKIPPED: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root for namespaces"
for tool in slurmctld slurmd srun munged unshare nsenter ip tc; do
  PATH=$PATH:/usr/sbin:/sbin command -v $tool > /dev/null || skip "$tool is missing: apt install slurm-wlm munge iproute2"
done
PATH=$PATH:/usr/sbin:/sbin
unshare -n -m -u -i -p --fork true 2> /dev/null || skip "namespaces are not allowed here"

export S=$PWD/c # a short path: Unix sockets live below it
cluster=$SOURCE_DIR/tests/slurm/cluster.sh
"$cluster" down > /dev/null 2>&1
rm -rf c
mkdir c
"$cluster" up > up.txt 2>&1 || { "$cluster" down; skip "the cluster does not start here: $(tail -n 3 up.txt)"; }
trap '"$cluster" down' EXIT
cd c || exit 1
cp "$PNEUMA" pneuma
cp -r "$SOURCE_DIR/jobs" .
export PNEUMA=$PWD/pneuma OMP_WAIT_POLICY=passive

bad=0
say() { echo "FAILED: $*"; bad=1; }
on_ctl() { timeout 120 "$cluster" sh ctl "$@"; }
field() { grep -o "\"$2\": *\"[0-9a-f]*\"" "$1" | head -n 1 | cut -d'"' -f4; }

"$PNEUMA" synth phantom --images 60 --seed 4 > log.synth 2>&1 || say "synth: $(tail -n 2 log.synth)"
"$PNEUMA" ingest phantom alone --size 48 > log.alone 2>&1 || say "ingest alone: $(tail -n 2 log.alone)"

echo "== info: the map of ranks"
on_ctl srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" info > log.info 2>&1 || say "info: $(tail -n 3 log.info)"
[ "$(grep -cE '^ +[0-3] +node[AB] ' log.info)" -eq 4 ] || say "info shows other ranks: $(cat log.info)"

echo "== ingest on two nodes: the same digest as alone"
on_ctl srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" ingest phantom shards --size 48 > log.ingest 2>&1 || say "ingest: $(tail -n 3 log.ingest)"
[ -n "$(field alone/index.json digest)" ] && [ "$(field alone/index.json digest)" = "$(field shards/index.json digest)" ] || say "other digest"

cat > run.yaml << 'Y'
data: {path: shards}
model: {filters1: 8, filters2: 12, hidden: 16, dropout: 0.2}
train: {batch: 8, epochs: 40, threads: 1, device: ref}
Y
echo "== DDP over two nodes, by srun and by mpirun: the same weights"
on_ctl srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" train run.yaml out.path=run-srun > log.srun 2>&1 || say "srun: $(tail -n 3 log.srun)"
on_ctl sbatch -t 2 -N2 -n4 -o log.mpirun --wait --wrap "mpirun $PNEUMA train run.yaml out.path=run-mpirun" > /dev/null 2>&1 ||
  say "mpirun: $(tail -n 3 log.mpirun)"
want=$(field run-srun/run.json weights_sha256)
[ -n "$want" ] && [ "$(field run-mpirun/run.json weights_sha256)" = "$want" ] || say "srun and mpirun give other weights"

echo "== study: all rows in one allocation"
cat > study.yaml << 'Y'
data: {path: shards}
model: {filters1: 8, filters2: 12, hidden: 16}
train: {batch: 16, epochs: 1, threads: 1, device: ref}
study:
  repeats: 2
  steps: 6
  rows: [{name: serial, ranks: 1}, {name: ddp-2, strategy: ddp, ranks: 2}, {name: ddp-4, strategy: ddp, ranks: 4}]
Y
on_ctl sbatch -t 2 -N2 -n4 --ntasks-per-node=2 --cpus-per-task=1 -o log.study --wait jobs/study.sbatch study.yaml out.path=study \
  > /dev/null 2>&1 || say "study: $(tail -n 3 log.study)"
[ "$(grep -cE '^(serial|ddp-2|ddp-4),ok' study/study.csv)" -eq 3 ] || say "study.csv: $(cat study/study.csv)"

echo "== pre-emption: checkpoint, requeue, resume, the same weights"
id=$(on_ctl sbatch --parsable -t 5 -N2 -n4 --ntasks-per-node=2 --cpus-per-task=1 -o log.job jobs/train.sbatch run.yaml \
  out.path=run-job train.checkpoint_steps=5)
"$cluster" wait "$id" RUNNING
for _ in $(seq 300); do [ -d run-job/checkpoints/step_5 ] && break; sleep 0.1; done
on_ctl sbatch --parsable -t 2 -p high -N2 -n4 -o log.high --wrap 'sleep 1' > /dev/null
"$cluster" wait "$id" PENDING && "$cluster" wait "$id" RUNNING && "$cluster" wait "$id" '' || say "the job did not come back"
grep -q "stopped by SIGUSR1 after step" log.job || say "no checkpoint on pre-emption: $(tail -n 5 log.job)"
grep -q "^resume " log.job || say "it did not resume: $(tail -n 5 log.job)"
[ "$(field run-job/run.json weights_sha256)" = "$want" ] || say "other weights after the pre-emption: $(tail -n 5 log.job)"
exit $bad
