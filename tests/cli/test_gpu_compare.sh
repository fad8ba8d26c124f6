#!/bin/bash
# test_gpu_compare.sh -- configs/gpu_compare.yaml: rows without their GPU say so, the others run; figures of a GPU (played by
# a library) per row; and the GPU job scripts name what there is.
set -u
. "$SOURCE_DIR/tests/lib.sh"

rm -rf phantom shards out-*
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 24
if command -v nvidia-smi > /dev/null; then
  echo 'a GPU is here: its rows are not expected to be absent'
  rows=12
else
  rows=1
fi
export LD_LIBRARY_PATH=$FAKE_LIBRARIES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PN_WATCH_GPU=00000000:3b:00.0
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" study "$SOURCE_DIR/configs/gpu_compare.yaml" data.path=shards model.filters1=3 model.filters2=4 \
  model.hidden=8 train.epochs=2 train.threads=1 train.batch=8 study.repeats=1 study.plots=false out.path=out-study
[ "$(grep -c '^      "name": "' out-study/study.json)" -eq 12 ] || say "rows: $(grep '"name"' out-study/study.json)"
[ "$(grep -c '"status": "ok"' out-study/study.json)" -ge $rows ] || say "status: $(grep '"status"' out-study/study.json)"
if [ $rows -eq 1 ]; then
  [ "$(grep -cE '"status": "not run: .*(device|GPU|CUDA)' out-study/study.json)" -eq 11 ] || say "status: $(grep '"status"' out-study/study.json)"
  has out.txt 'gpu-b64: not run: '
  has out.txt 'gpu-b256-bf16: not run: .*(device|GPU|CUDA)'
fi
has out.txt 'cpu-b32: GPU 87 % busy, 20.0 GiB, 250 W, 1755 MHz, [0-9.e+]+ J, [0-9.e+]+ J per 1000 images\.'
for key in utilization_percent memory_bytes power_w clock_mhz energy_j energy_per_1000_images_j; do has out-study/study.json "\"$key\": [0-9.]+"; done

# job scripts: shell that parses, files that exist, options and commands that the program knows
for job in train_gpu study_gpu; do
  script=$SOURCE_DIR/jobs/$job.sbatch
  bash -n "$script" || say "$job.sbatch does not parse"
  for name in $(grep -v '^#SBATCH' "$script" | grep -oE '(configs|jobs)/[a-z_]+\.(yaml|sbatch)'); do
    [ -f "$SOURCE_DIR/$name" ] || say "$job.sbatch names $name, which is not there"
  done
  tasks=$(sed -n 's/^#SBATCH --ntasks-per-node=//p' "$script") gpus=$(sed -n 's/^#SBATCH --gpus-per-node=//p' "$script")
  [ "$tasks" = "$gpus" ] || say "$job.sbatch: $tasks ranks on $gpus GPUs"
  has "$SOURCE_DIR/jobs/README.md" "^\| $job.sbatch \|"
done
# what train_gpu.sbatch asks for, without Slurm and with a device that is here
cat > srun << 'END'
#!/bin/bash
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
END
chmod +x srun
PATH=$PWD:$PATH SLURM_CPUS_PER_TASK=1 SLURM_JOB_NAME=job SLURM_JOB_ID=7 must bash "$SOURCE_DIR/jobs/train_gpu.sbatch" data.path=shards \
  train.device=cpu train.epochs=1 train.threads=1 train.batch=8 model.filters1=3 model.filters2=4 model.hidden=8
[ -f results/job-7/run.json ] || say 'train_gpu.sbatch left no run'
rm -rf results
if command -v sbatch > /dev/null && sinfo > /dev/null 2>&1; then
  for job in train_gpu study_gpu; do
    sbatch --test-only -n1 --ntasks-per-node=1 --gpus-per-node=0 --cpus-per-task=1 -t 1 "$SOURCE_DIR/jobs/$job.sbatch" 2> sbatch.txt ||
      grep -qiE 'gres|gpu' sbatch.txt || say "sbatch --test-only $job: $(cat sbatch.txt)"
  done
else
  echo 'no Slurm here: sbatch --test-only is not tried'
fi
finish gpu_compare
