#!/usr/bin/env bash
# Prints what docs/domain.md names and the tests do not have: suites by their type's name, tests by their words.
set -euo pipefail
cd "$(dirname "$0")/../.."

while read -r suite; do
    [ -n "$(find Tests -name "$suite.swift")" ] || echo "docs/domain.md names $suite, which does not exist"
done < <(grep -oE '\b[A-Za-z]+Tests\b' docs/domain.md | sort -u)
while read -r name; do
    grep -rqF "$name" Tests --include='*.swift' || echo "docs/domain.md names $name, which does not exist"
done < <(grep -oE 'Tests "[^"]+"' docs/domain.md | sed 's/^Tests //' | sort -u)
