#!/usr/bin/env bash
# setup.sh -- install the Debian/Ubuntu packages pneuma is built from; does nothing when all are there.
#   tools/setup.sh          what the build and the demo need
#   tools/setup.sh --test   also what the tests need
#   tools/setup.sh --dev    also what the checks of .ci/run need
#   tools/setup.sh --list   print the packages and leave
# Uses sudo when not root and asks nothing. On another system it prints the list.
set -euo pipefail

packages=(gcc g++ make cmake pkg-config           # compilers and build
  libopenmpi-dev openmpi-bin openssh-client       # MPI; its launcher looks for ssh
  libdnnl-dev                                     # oneDNN: CPU kernels
  libhdf5-dev hdf5-tools                          # shards, checkpoints
  libdcmtk-dev libopenjp2-7-dev                   # DICOM; JPEG 2000 in it
  libjpeg-dev libpng-dev zlib1g-dev libyaml-dev libjansson-dev libhwloc-dev libssl-dev
  gnuplot-nox                                     # plots
  dcmtk libcmocka-dev)                                  # tests
case ${1:-} in
  --test) packages+=(python3) ;;
  --dev) packages+=(python3 git clang-format clang slurm-wlm munge iproute2) ;;
  --list) printf '%s\n' "${packages[@]}"; exit 0 ;;
  '') ;;
  *) sed -n '2,7p' "$0" >&2; exit 2 ;;
esac

if ! command -v apt-get >/dev/null; then
  echo "setup.sh: this is not Debian or Ubuntu. Install what these Debian packages bring, then run cmake:"
  printf '  %s\n' "${packages[@]}"
  exit 1
fi

# A package counts as there when it, or a package that provides it, is installed.
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Provides}\n' 2>/dev/null |
    grep -E "^ii .*(^| )$(printf %s "$p" | sed 's/+/\\+/g')( |,|$|:)" >/dev/null || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup.sh: all ${#packages[@]} packages are installed"
  exit 0
fi

sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null ||
    { echo "setup.sh: not root and no sudo. As root: apt-get install ${missing[*]}" >&2; exit 1; }
  sudo=(sudo -n)
  sudo -n true 2>/dev/null || sudo=(sudo) # may ask for the password on a workstation
fi
echo "setup.sh: installing ${#missing[@]} packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 </dev/null ||
  { tail -n 30 "$log" >&2; echo "setup.sh: failed: $*" >&2; exit 1; }; }
run apt-get -q update
run apt-get -qy install --no-install-recommends "${missing[@]}"
echo "setup.sh: done"
