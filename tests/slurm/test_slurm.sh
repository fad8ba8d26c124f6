#!/bin/bash
# test_slurm.sh -- the program under a real Slurm of two nodes (cluster.sh): ingest, DDP over both nodes, study, the batch files, pre-emption with
# requeue and resume.  Needs root and Debian's slurm-wlm and munge; skipped without.
. "$SOURCE_DIR/tests/slurm/common.sh"
for job in jobs/*.sbatch; do bash -n "$job" || say "$job is not a script"; done
stage() { echo "== $* ($SECONDS s)"; }

"$PNEUMA" synth phantom --images 60 --seed 4 > log.synth 2>&1 || say "synth: $(tail -n 2 log.synth)"
"$PNEUMA" ingest phantom alone --size 48 > log.alone 2>&1 || say "ingest alone: $(tail -n 2 log.alone)"

stage "info: the map of ranks"
on_ctl srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" info > log.info 2>&1 || say "info: $(tail -n 3 log.info)"
[ "$(grep -cE '^ +[0-3] +node[AB] ' log.info)" -eq 4 ] || say "info shows other ranks: $(cat log.info)"

stage "ingest on two nodes: the same digest as alone"
on_ctl sbatch -t 20 -N2 -n4 --ntasks-per-node=2 -o log.ingest --wait jobs/ingest.sbatch phantom shards --size 48 > /dev/null 2>&1 ||
  say "ingest: $(tail -n 3 log.ingest)"
[ -n "$(field alone/index.json digest)" ] && [ "$(field alone/index.json digest)" = "$(field shards/index.json digest)" ] || say "other digest"
on_ctl sbatch -t 20 -N2 -n4 --ntasks-per-node=2 -o log.ingest2 --wait jobs/ingest_mpirun.sbatch phantom shards2 --size 48 > /dev/null 2>&1 ||
  say "ingest by mpirun: $(tail -n 3 log.ingest2)"
[ "$(field alone/index.json digest)" = "$(field shards2/index.json digest)" ] || say "other digest by mpirun"

cat > run.yaml << 'Y'
data: {path: shards}
model: {filters1: 8, filters2: 12, hidden: 16, dropout: 0.2}
train: {batch: 8, epochs: 8, threads: 1, device: ref}
out: {plots: false}
Y
stage "DDP over two nodes, by srun and by mpirun: the same weights"
on_ctl srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" train run.yaml out.path=run-srun > log.srun 2>&1 || say "srun: $(tail -n 3 log.srun)"
on_ctl sbatch -t 20 -N2 -n4 -o log.mpirun --wait --wrap "mpirun $PNEUMA train run.yaml out.path=run-mpirun" > /dev/null 2>&1 ||
  say "mpirun: $(tail -n 3 log.mpirun)"
want=$(field run-srun/run.json weights_sha256)
[ -n "$want" ] && [ "$(field run-mpirun/run.json weights_sha256)" = "$want" ] || say "srun and mpirun give other weights"

stage "FSDP over two nodes, and the same bits as one rank alone"
exact=(train.exact=true train.epochs=2)
"$PNEUMA" train run.yaml "${exact[@]}" out.path=run-one > log.one 2>&1 || say "exact, one rank: $(tail -n 3 log.one)"
on_ctl srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" train run.yaml "${exact[@]}" train.strategy=fsdp out.path=run-fsdp > log.fsdp 2>&1 || say "fsdp: $(tail -n 3 log.fsdp)"
grep -q 'memory plan .* over shm' log.fsdp || say "fsdp: $(grep memory log.fsdp)"
[ -n "$(field run-one/run.json weights_sha256)" ] && [ "$(field run-fsdp/run.json weights_sha256)" = "$(field run-one/run.json weights_sha256)" ] ||
  say 'FSDP over two nodes: other weights than one rank'
on_ctl srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" train run.yaml train.epochs=2 train.strategy=fsdp out.path=run-fsdp2 > log.fsdp2 2>&1 ||
  say "fsdp, ordinary sums: $(tail -n 3 log.fsdp2)"
paste -d, <(cut -d, -f4 run-srun/steps.csv) <(cut -d, -f4 run-fsdp2/steps.csv) | awk -F, 'NR > 1 && $2 != "" {n++; d = $1 - $2; if (d < 0) d = -d; if (!($1 > 0) || d > 1e-5 * $1) bad = 1}
  END {exit bad || n < 8}' || say "FSDP's losses are not DDP's: $(paste run-srun/steps.csv run-fsdp2/steps.csv | head -n 4)"

stage "between nodes every gradient travels once from each: slices of the node's sum, not every rank's"
sent() { "$cluster" sh nodeB cat /sys/class/net/eth0/statistics/tx_bytes; }
for comm in shm mpi; do
  for steps in 2 22; do
    before=$(sent)
    on_ctl srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" train data.path=shards train.batch=4 train.threads=1 train.steps=$steps train.bucket_mb=1 train.validate=false out.plots=false model.hidden=16 \
      train.comm=$comm out.path=run-$comm-$steps > log.wire 2>&1 || say "wire: $(tail -n 3 log.wire)"
    echo $(($(sent) - before)) > sent.$comm.$steps
  done
done
gradients=$((4 * $(grep -o '"parameters": *[0-9]*' run-shm-2/run.json | head -n 1 | grep -o '[0-9]*$')))
awk -v g=$gradients -v s="$(($(< sent.shm.22) - $(< sent.shm.2)))" -v m="$(($(< sent.mpi.22) - $(< sent.mpi.2)))" 'BEGIN {
  printf "   bytes from a node per step: %.2f of the gradients by shm, %.2f by mpi\n", s / 20 / g, m / 20 / g
  exit !(s > 20 * g && s < 1.15 * 20 * g && s < 0.8 * m)}' || say 'the slices of equal index do not travel alone'
on_ctl srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" bench comm bench.from_kb=64 bench.to_mb=1 bench.row_s=0.01 > log.bench 2>&1 || say "bench comm: $(tail -n 3 log.bench)"
[ "$(grep -c ' yes$' log.bench)" -eq 20 ] || say "bench comm: $(cat log.bench)"

stage "a rank of the other node is late: it is named before the limit"
on_ctl env PN_FAULT=3:read:sleep=4:5 srun -t 2 -N2 -n4 --mpi=pmix "$PNEUMA" train run.yaml out.path=run-late train.steps=8 run.watchdog_s=6 > log.late 2>&1 ||
  say "late: $(tail -n 3 log.late)"
grep -qE 'warning: rank 0 .host nodeA. has waited .*; late: rank 3 .host nodeB: step 5, last seen in collective' log.late || say "late: $(cat log.late)"

stage "study: all rows in one allocation, by mpirun"
cat > study.yaml << 'Y'
data: {path: shards}
model: {filters1: 8, filters2: 12, hidden: 16}
train: {batch: 16, epochs: 1, threads: 1, device: ref}
study:
  repeats: 2
  steps: 4
  plots: false
  rows: [{name: serial, ranks: 1}, {name: ddp-2, strategy: ddp, ranks: 2}, {name: ddp-4, strategy: ddp, ranks: 4}]
Y
on_ctl sbatch -t 20 -N2 -n4 --ntasks-per-node=2 --cpus-per-task=1 -o log.study --wait jobs/study_mpirun.sbatch study.yaml out.path=study \
  > /dev/null 2>&1 || say "study: $(tail -n 3 log.study)"
[ "$(grep -cE '^(serial|ddp-2|ddp-4),ok' study/study.csv)" -eq 3 ] || say "study.csv: $(cat study/study.csv)"

stage "the GPU batch files, on GPUs in name only"
on_ctl sbatch -t 20 -N2 --ntasks-per-node=2 --cpus-per-task=1 --gpus-per-node=2 -o log.gpu --wait jobs/train_gpu.sbatch run.yaml out.path=run-gpu train.epochs=1 train.device=ref \
  > /dev/null 2>&1 || say "train_gpu: $(tail -n 3 log.gpu)"
grep -q '"ranks": *4' run-gpu/run.json || say "train_gpu: $(tail -n 3 log.gpu)"
on_ctl sbatch -t 20 -N1 --ntasks-per-node=2 --cpus-per-task=1 --gpus-per-node=2 -o log.studygpu --wait jobs/study_gpu.sbatch study.yaml out.path=study-gpu train.device=ref study.repeats=1 \
  > /dev/null 2>&1 || say "study_gpu: $(tail -n 3 log.studygpu)"
[ "$(grep -cE '^(serial|ddp-2),ok' study-gpu/study.csv)" -eq 2 ] || say "study_gpu: $(cat study-gpu/study.csv)"

stage "folds: an array, per fold an ingest and a training"
mkdir csv
cp phantom/stage_2_train_images/*.dcm csv/
(echo path,label,fold; cd csv && ls ./*.dcm | awk '{ print $0 "," (NR % 2 ? "normal" : "sick") "," int(NR / 2) % 3 }') > csv/labels.csv
SIZE=48 on_ctl sbatch -t 20 --array=0-1 -N1 --ntasks-per-node=2 --cpus-per-task=1 -o 'log.fold-%a' --wait jobs/folds.sbatch csv folds run.yaml train.epochs=2 \
  > /dev/null 2>&1 || say "folds: $(tail -n 3 log.fold-*)"
SIZE=48 on_ctl sbatch -t 20 --array=2 -N1 --ntasks-per-node=2 --cpus-per-task=1 -o 'log.fold-%a' --wait jobs/folds_mpirun.sbatch csv folds run.yaml train.epochs=2 \
  > /dev/null 2>&1 || say "folds by mpirun: $(tail -n 3 log.fold-2)"
for k in 0 1 2; do grep -q "\"test\": *20" folds/fold-$k/shards/index.json && [ -f folds/fold-$k/run/run.json ] || say "fold $k: $(tail -n 3 log.fold-$k)"; done

# preempted SCRIPT RUN (sleeps before its 30th batch; after it has resumed fewer are left): checkpoint, requeue, resume, the same weights
preempted() {
  stage "pre-emption of $1"
  id=$(on_ctl env PN_FAULT=0:read:sleep=3:30 sbatch --parsable -t 20 -N2 -n4 --ntasks-per-node=2 --cpus-per-task=1 -o "log.$2" "jobs/$1" run.yaml "out.path=$2" train.checkpoint_steps=5)
  within 40 grep -qs 'process sleeps' "log.$2" || say "$1: $(tail -n 3 "log.$2")"
  on_ctl sbatch --parsable -t 2 -p high -N2 -n4 -o log.high --wrap 'sleep 1' > /dev/null
  "$cluster" wait "$id" PENDING && "$cluster" wait "$id" RUNNING && "$cluster" wait "$id" '' || say "$1: the job did not come back"
  grep -q "stopped by SIGUSR1 after step" "log.$2" || say "$1: no checkpoint on pre-emption: $(tail -n 5 "log.$2")"
  grep -q "^resume " "log.$2" || say "$1: it did not resume: $(tail -n 5 "log.$2")"
  [ "$(field "$2/run.json" weights_sha256)" = "$want" ] || say "$1: other weights after the pre-emption: $(tail -n 5 "log.$2")"
}
preempted train.sbatch run-job
preempted train_mpirun.sbatch run-mpijob

stage "pre-emption of study.sbatch: the finished runs are kept"
id=$(on_ctl env PN_FAULT=0:read:sleep=3:6 sbatch --parsable -t 20 -N2 -n4 --ntasks-per-node=2 --cpus-per-task=1 -o log.prestudy jobs/study.sbatch study.yaml out.path=prestudy)
within 40 grep -qs 'process sleeps' log.prestudy || say "study.sbatch: $(tail -n 3 log.prestudy)"
on_ctl sbatch --parsable -t 2 -p high -N2 -n4 -o log.high --wrap 'sleep 1' > /dev/null
"$cluster" wait "$id" PENDING && "$cluster" wait "$id" RUNNING && "$cluster" wait "$id" '' || say "study.sbatch: the job did not come back"
grep -q 'stopped by SIGUSR1 after a run of row' log.prestudy && ! grep -q 'each task does the whole job' log.prestudy && grep -qE '^resume +[1-9] finished runs' log.prestudy || say "study.sbatch: $(tail -n 5 log.prestudy)"
[ "$(grep -cE '^(serial|ddp-2|ddp-4),ok' prestudy/study.csv)" -eq 3 ] || say "study.sbatch: $(cat prestudy/study.csv)"
stage "all done"
exit $bad
