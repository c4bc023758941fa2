#!/usr/bin/env bash
# A Slurm of virtual nodes on this machine, without systemd: cluster.sh install | up | down, as root.
# Variables of up and down: LAB (a folder of its own), PORT (the first of NODES + 1 free ones), NODES, CPUS.
set -euo pipefail
LAB=${LAB:-} PORT=${PORT:-} NODES=${NODES:-4} CPUS=${CPUS:-4}
HOST=$(hostname -s)
NAME=p${PORT}n # of nodes: daemons of other such clusters share the cgroups here
GROUPS_HERE=/sys/fs/cgroup/freezer
export SLURM_CONF=$LAB/slurm.conf

install() {
    local program missing=
    for program in slurmctld slurmd sbatch munged shellcheck; do
        command -v $program >/dev/null || missing=1
    done
    [[ -n $missing ]] || return 0
    export DEBIAN_FRONTEND=noninteractive
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then # no services of the packages' own
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge shellcheck
}

configure() {
    local tracking=linuxproc
    if [[ -d $GROUPS_HERE ]] && mkdir "$GROUPS_HERE/$NAME-probe" 2>/dev/null; then
        rmdir "$GROUPS_HERE/$NAME-probe"
        tracking=cgroup
        printf 'CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nCgroupAutomount=no\n' \
            >"$LAB/cgroup.conf"
    fi
    cat >"$SLURM_CONF" <<END
ClusterName=lab
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$LAB/run/munge.sock
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$LAB/state
SlurmdSpoolDir=$LAB/spool/%n
TmpFS=$LAB/tmp
SlurmctldPidFile=$LAB/run/slurmctld.pid
SlurmdPidFile=$LAB/run/slurmd-%n.pid
SlurmctldLogFile=$LAB/log/slurmctld.log
SlurmdLogFile=$LAB/log/slurmd-%n.log
ProctrackType=proctrack/$tracking
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
KillWait=10
MinJobAge=3600
NodeName=${NAME}[1-$NODES] NodeHostname=$HOST NodeAddr=127.0.0.1 Port=[$((PORT + 1))-$((PORT + NODES))] CPUs=$CPUS Sockets=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 State=UP
END
}

up() {
    local node
    umask 022
    mkdir -p "$LAB"/{run,log,state,spool,tmp}
    (
        umask 077
        dd if=/dev/urandom of="$LAB/munge.key" bs=128 count=1 status=none
    )
    munged --force --num-threads=2 --key-file="$LAB/munge.key" --socket="$LAB/run/munge.sock" \
        --pid-file="$LAB/run/munged.pid" --log-file="$LAB/log/munged.log" \
        --seed-file="$LAB/state/munged.seed"
    configure
    slurmctld -c
    for node in $(seq "$NODES"); do slurmd -N "$NAME$node"; done
    for _ in $(seq 300); do
        [[ $(sinfo -h -N -o '%N %T' 2>/dev/null | grep -c ' idle$') != "$NODES" ]] || return 0
        sleep 0.1
    done
    echo "Slurm did not come up" >&2
    tail -n 20 "$LAB"/log/*.log >&2
    return 1
}

down() {
    local file pid
    squeue -h -o %A 2>/dev/null | xargs -r scancel -f 2>/dev/null || :
    for _ in $(seq 150); do # until KillWait is over for all
        [[ -n $(squeue -h 2>/dev/null) ]] || break
        sleep 0.1
    done
    for file in "$LAB"/run/slurmd-*.pid "$LAB"/run/slurmctld.pid "$LAB"/run/munged.pid; do
        [[ -s $file ]] || continue
        pid=$(<"$file")
        case $(ps -o comm= -p "$pid" 2>/dev/null) in # the number may be another's by now
        slurmd* | slurmctld* | munged*) finish "$pid" ;;
        esac
    done
    find $GROUPS_HERE/slurm_"$NAME"* -depth -type d -exec rmdir {} \; 2>/dev/null || :
}

finish() {
    kill "$1"
    for _ in $(seq 100); do
        case $(ps -o stat= -p "$1" 2>/dev/null) in '' | Z*) return ;; esac # a zombie has ended
        sleep 0.1
    done
    kill -9 "$1"
}

case ${1:-} in
install | up | down) "$1" ;;
*)
    echo "usage: $0 install | up | down" >&2
    exit 2
    ;;
esac
