#!/bin/sh
# Unpacks data.tar.xz beside this file; the commands in bin/ call it when they run first.
set -e
cd "$(dirname "$(readlink -f "$0")")"
[ ! -d lib ] || exit 0
new=.unpack.$$
trap 'rm -rf "$new"' EXIT
mkdir "$new"
echo "unpacking $(pwd), once" >&2
xz/ld-linux-x86-64.so.2 --library-path xz xz/xz -dc data.tar.xz | tar -xf - -C "$new"
for part in "$new"/*; do # lib last: it says that all is there
  [ "${part##*/}" = lib ] || mv "$part" . 2> /dev/null || [ -d "${part##*/}" ]
done
mv -T "$new/lib" lib 2> /dev/null || [ -d lib ] # another rank was first
