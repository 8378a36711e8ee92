# Usage: exchange.sh WRITER READER [SCRIPT], two virtual environments. See exchange.py, the default.
set -eu
script=${3:-tests/matrix/exchange.py}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "$1 writes, $2 runs"
"$1/bin/python" "$script" write "$folder"
"$2/bin/python" "$script" run "$folder"
