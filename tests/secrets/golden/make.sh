#!/bin/sh
# Makes the states of this folder with the real terraform (1.11.4 when they were committed): `make.sh`, then look at what has changed.
# Ids, lineages and the lines of golden files that hold them do not matter to the tests.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for name in objects modules encodings; do
    work=$(mktemp -d)
    cp -r "$here/$name/." "$work"
    terraform -chdir="$work" init -input=false -no-color >/dev/null
    terraform -chdir="$work" apply -auto-approve -input=false -no-color >/dev/null
    cp "$work/terraform.tfstate" "$here/$name.tfstate"
    rm -r "$work"
done
