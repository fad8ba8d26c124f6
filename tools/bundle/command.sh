#!/bin/sh
# Starts the program of this name in ../exe with the libraries of the bundle.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
. "$root/bin/env.sh"
start "${0##*/}" "$@"
