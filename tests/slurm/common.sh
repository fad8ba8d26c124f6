# common.sh -- sourced by the tests in this folder: a cluster of its own (cluster.sh) for the script, in c/ below the working folder; skips where
# that cannot be.  Sets $cluster and $PNEUMA; the working folder is then c/, which all "machines" see.
set -u
skip() { echo "SKIPPED: $*"; exit 77; }
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" = 0 ] || skip "needs root for namespaces"
for tool in slurmctld slurmd srun munged unshare nsenter ip tc; do
  command -v $tool > /dev/null || skip "$tool is missing: apt install slurm-wlm munge iproute2"
done
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
# Until the command holds, at most SECONDS.
within() { local end=$((SECONDS + $1)); shift; while [ $SECONDS -lt $end ]; do "$@" && return 0; sleep 0.1; done; return 1; }
