# Usage: exchange.sh WRITER READER, two virtual environments. See exchange.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "$1 writes, $2 runs"
"$1/bin/python" tests/matrix/exchange.py write "$folder"
"$2/bin/python" tests/matrix/exchange.py run "$folder"
