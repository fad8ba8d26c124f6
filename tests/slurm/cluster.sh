#!/bin/bash
# cluster.sh -- a real two-node Slurm cluster on one machine: each of ctl, nodeA, nodeB lives in its own
# network + mount + UTS + IPC + PID namespace.  Run as root.  Nothing outside $S is written.
#   cluster.sh up | down | status | sh NODE CMD...
#   cluster.sh cut NODE | heal NODE        cable pulled / put back (bridge side; packets vanish, no error in the node)
#   cluster.sh cutin NODE | healin NODE    eth0 down / up inside the node (ENETUNREACH at once in the node)
#   cluster.sh recover NODE                after heal: wait for orphans to be killed, resume the node, release held jobs
#   cluster.sh shape NODE RATE | unshape NODE     e.g. shape nodeB 100mbit (tbf, both directions)
#   cluster.sh wait JOB STATE             until the job is in that state ('' = gone), at most 60 s
set -eu
S=${S:-$PWD/cluster}     # seen at the same path on all "machines" = the shared file system
CPUSET=${CPUSET:-0-1}                    # real cores the cluster may use
NET=10.77.0
declare -A IP=([ctl]=$NET.1 [nodeA]=$NET.11 [nodeB]=$NET.12)
NODES="nodeA nodeB"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1   # jobs inherit the submitter's environment
SELF=$(readlink -f "$0")
pid() { cat "$S/run/$1.pid"; }
nse() { local n=$1; shift; nsenter -t "$(pid "$n")" -m -u -i -n -p -r -w"$PWD" -- taskset -c "$CPUSET" "$@"; }

conf() {
  mkdir -p "$S"/{etc,run,log}
  cat > "$S/etc/hosts" <<C
127.0.0.1 localhost
${IP[ctl]} ctl
${IP[nodeA]} nodeA
${IP[nodeB]} nodeB
C
  [ -f "$S/etc/munge.key" ] || (umask 077; head -c 1024 /dev/urandom > "$S/etc/munge.key")
  chown munge:munge "$S/etc/munge.key"; chmod 400 "$S/etc/munge.key"
  cat > "$S/etc/slurm.conf" <<C
ClusterName=test
SlurmctldHost=ctl(${IP[ctl]})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmdPidFile=/run/slurmd.pid
SlurmctldPidFile=/run/slurmctld.pid
SlurmdLogFile=$S/log/slurmd.%n.log
SlurmctldLogFile=$S/log/slurmctld.log
SlurmdDebug=${SLURMD_DEBUG:-info}
SlurmctldDebug=${SLURMD_DEBUG:-info}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$S/log/jobcomp.txt
MpiDefault=pmix
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
ReturnToService=0
SlurmdTimeout=${SLURMD_TIMEOUT:-5}
MessageTimeout=${MSG_TIMEOUT:-5}
TCPTimeout=1
KillWait=5
MinJobAge=3600
JobRequeue=1
SchedulerParameters=sched_min_interval=0,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
GresTypes=gpu
NodeName=nodeA NodeAddr=${IP[nodeA]} CPUs=2 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
NodeName=nodeB NodeAddr=${IP[nodeB]} CPUs=2 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=nodeA,nodeB Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=${GRACE:-8}
PartitionName=high Nodes=nodeA,nodeB MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
C
  cat > "$S/etc/mpi.conf" <<C
PMIxCliTmpDirBase=/tmp
PMIxTimeout=60
C
  echo 'CgroupPlugin=cgroup/v1' > "$S/etc/cgroup.conf"   # or slurmd's autodetection dies without /sys/fs/cgroup/systemd
  printf 'Name=gpu File=/dev/%s\n' null zero > "$S/etc/gres.conf" # two GPUs in name only: enough for what a job asks of Slurm
  : > "$S/etc/plugstack.conf"
  cat > "$S/etc/openmpi-mca-params.conf" <<C
pml = ob1
btl = self,vader,tcp
btl_tcp_if_include = eth0
oob_tcp_if_include = eth0
btl_vader_single_copy_mechanism = none
mpi_yield_when_idle = 1
hwloc_base_binding_policy = none
plm = slurm
C
}

init() {  # runs as pid 1 of the new namespaces
  local n=$1
  hostname "$n"
  mount --make-rprivate /
  mount -t sysfs sysfs /sys                      # so that /sys/class/net shows this namespace
  # keep $S visible at its own path over the private /tmp
  mount --bind "$S" /mnt
  for d in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs $d; done
  for d in /var/spool /var/log /run; do mount -t tmpfs -o mode=755 tmpfs $d; done
  mkdir -p "$S"; mount --bind /mnt "$S"; umount /mnt
  mount --bind "$S/etc/hosts" /etc/hosts
  mount --bind "$S/etc" /etc/slurm
  mount --bind "$S/etc/openmpi-mca-params.conf" /etc/openmpi/openmpi-mca-params.conf
  mkdir -p /run/munge /var/log/munge /var/spool/munge /var/spool/slurmd /var/spool/slurmctld /run/lock
  chown munge:munge /run/munge /var/log/munge /var/spool/munge
  ip link set lo up
  touch "$S/run/$n.ready1"
  while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
  ip addr add "${IP[$n]}/24" dev eth0; ip link set eth0 up
  install -o munge -g munge -m 400 "$S/etc/munge.key" /run/munge/key
  runuser -u munge -- /usr/sbin/munged --key-file=/run/munge/key --seed-file=/run/munge/seed --num-threads=2
  if [ "$n" = ctl ]; then /usr/sbin/slurmctld -i; else /usr/sbin/slurmd -N "$n"; fi
  touch "$S/run/$n.ready2"
  trap 'exit 0' TERM
  while :; do sleep 3600 & wait $!; done      # pid 1: reaps orphans
}

boot() {
  local n=$1
  rm -f "$S/run/$n".*
  setsid taskset -c "$CPUSET" unshare -n -m -u -i -p --fork --kill-child --mount-proc --propagation private \
     "$SELF" __init "$n" </dev/null >"$S/log/init.$n.log" 2>&1 &
  local u=$!; echo $u > "$S/run/$n.upid"
  until [ -e "$S/run/$n.ready1" ]; do kill -0 $u || { cat "$S/log/init.$n.log"; exit 1; }; sleep 0.05; done
  ps -o pid= --ppid $u | tr -d ' ' > "$S/run/$n.pid"
}

up() {
  [ ! -e "$S/run/ctl.pid" ] || ! kill -0 "$(pid ctl)" 2>/dev/null || { echo "already up"; exit 1; }
  conf
  for n in ctl $NODES; do boot $n; done
  local c; c=$(pid ctl)
  # the bridge lives in ctl's network namespace: "eth0" of ctl is the bridge itself
  nsenter -t $c -n ip link add eth0 type bridge forward_delay 0
  for n in $NODES; do
    nsenter -t $c -n ip link add v-$n type veth peer name eth0 netns "$(pid $n)"
    nsenter -t $c -n ip link set v-$n master eth0 up
  done
  for n in ctl $NODES; do until [ -e "$S/run/$n.ready2" ]; do kill -0 "$(pid $n)" 2>/dev/null || { echo "$n did not start:"; tail -n 5 "$S/log/init.$n.log" "$S"/log/slurm*"${n/ctl/ctld}"*.log; down; exit 1; }; sleep 0.05; done; done
  local i; for i in $(seq 100); do [ "$(nse ctl sinfo -h -N -t idle -p main -o %N 2>/dev/null | wc -l)" = 2 ] && return 0; sleep 0.2; done
  echo "nodes did not become idle"; nse ctl sinfo -N -l; exit 1
}

down() {
  for n in $NODES ctl; do
    [ -e "$S/run/$n.upid" ] || continue
    kill -KILL "$(pid $n)" 2>/dev/null || true     # pid 1 of the namespace: the kernel kills all the rest of it
    rm -f "$S/run/$n".*
  done
}

state() { nse ctl sinfo -h -n "$1" -p main -o %T; }
recover() {  # with ReturnToService=0 the node stays DOWN until we say RESUME, so nothing is launched beside orphans
  local n=$1 i
  for i in $(seq 150); do
    case $(state $n) in *'*') ;; *) nse $n pgrep -f '^slurmstepd: ' >/dev/null || break;; esac
    sleep 0.2
  done
  nse ctl scontrol update NodeName=$n State=RESUME 2>/dev/null || true
  nse ctl squeue -h -t PD -o '%i %r' | while read -r j r; do case $r in *held*) nse ctl scontrol release "$j";; esac; done
}
shape() {
  nsenter -t "$(pid $1)" -n tc qdisc replace dev eth0 root tbf rate "$2" burst 32kbit latency 50ms
  nsenter -t "$(pid ctl)" -n tc qdisc replace dev "v-$1" root tbf rate "$2" burst 32kbit latency 50ms
}
unshape() { nsenter -t "$(pid $1)" -n tc qdisc del dev eth0 root; nsenter -t "$(pid ctl)" -n tc qdisc del dev "v-$1" root; }

wait_state() { local i; for i in $(seq 300); do [ "$(nse ctl squeue -h -j $1 -o %T 2>/dev/null)" = "$2" ] && return 0; sleep 0.2; done; echo "job $1 never became '$2'"; return 1; }

cmd=$1; shift
case $cmd in
  __init) init "$1";;
  up) up;;
  down) down;;
  status) nse ctl sinfo -N -l; nse ctl squeue;;
  sh) nse "$@";;
  cut)  nsenter -t "$(pid ctl)" -n ip link set "v-$1" down;;
  heal) nsenter -t "$(pid ctl)" -n ip link set "v-$1" up;;
  recover) recover "$1";;
  shape) shape "$@";;
  unshape) unshape "$1";;
  wait) wait_state "$@";;
  cutin)  nse "$1" ip link set eth0 down;;
  healin) nse "$1" ip link set eth0 up;;
  *) echo "?"; exit 2;;
esac
