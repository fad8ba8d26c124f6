# env.sh -- sourced by demo.sh and test.sh: what Open MPI needs in containers and on small machines.
# Open MPI refuses root and more ranks than cores by default; 4.x and 5.x read different variables.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1                        # Open MPI 4
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe       # Open MPI 5
export OMPI_MCA_mpi_yield_when_idle=1                             # waiting ranks leave the core to others
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${PN_BUILD:-$root/build}
jobs=${PN_JOBS:-$(nproc)}

say() { printf '\n== %s\n' "$*"; }

# build_all [cmake options]: configure and build in $build, quietly unless it fails.
build_all() {
  say "build in $build ($jobs jobs)"
  cmake -S "$root" -B "$build" "$@" || return 1
  cmake --build "$build" -j "$jobs" >"$build/build.log" 2>&1 ||
    { tail -n 60 "$build/build.log"; echo "build failed; all of it: $build/build.log"; return 1; }
  grep -E 'warning:' "$build/build.log" || true
}
