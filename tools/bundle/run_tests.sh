#!/bin/sh
# run_tests [LABEL...]: the bundle's test programs of these labels (default: all), as listed in tests.list.
# Exit status 1 when one fails or none ran; one that skips itself (77) is told and does not count.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
. "$root/bin/env.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1 OMP_WAIT_POLICY=passive
export SOURCE_DIR="$root" PNEUMA="$root/bin/pneuma" MPIEXEC="$root/bin/mpirun" TEST_PROGRAMS="$root/bin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0 failed=0 skipped=0
while read -r label name ranks arguments; do
  [ $# -eq 0 ] || case " $* " in *" $label "*) ;; *) continue ;; esac
  set_ranks="" && [ "$ranks" = - ] || set_ranks="$root/bin/mpirun -n $ranks --bind-to none"
  program=$root/bin/$name folder=. code=0
  case $name in
    *.sh)
      program="bash $root/tests/$label/$name" folder=$name.d && mkdir -p "$folder"
      command -v bash > /dev/null || program="sh $root/bin/no_bash"
      ;;
  esac
  (cd "$folder" && $set_ranks timeout -k 5 "${PN_TEST_TIMEOUT:-300}" $program $arguments) > log 2>&1 < /dev/null || code=$?
  case $code in
    0) passed=$((passed + 1)) word=passed ;;
    77) skipped=$((skipped + 1)) word=SKIPPED ;;
    *) failed=$((failed + 1)) word="FAILED, exit status $code" ;;
  esac
  echo "$label.$name$([ "$ranks" = - ] || echo ".$ranks"): $word"
  case $code in 0) ;; 77) tail -n 2 log | sed 's/^/  /' ;; *) tail -n 30 log | sed 's/^/  /' ;; esac
done < "$root/tests.list"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
