# describe-tree.sh FOLDER: one line per entry, in a fixed order; equal trees give equal text.
set -euo pipefail
cd "$1"
export LC_ALL=C
find . -path ./lost+found -prune -o -printf '%p\t%y\t%m\t%n\t%s\t%l\n' | sort
find . -path ./lost+found -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
