# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154  # venv is set by venv.sh
# The checks that need no running program.  Source it after common.sh; each function runs in the source directory.

lint_ruff() {
    "$venv/bin/ruff" check --no-cache agent tests
    "$venv/bin/ruff" format --no-cache --check agent tests
}

lint_mypy() { "$venv/bin/mypy" --cache-dir="$(dirname "$venv")/mypy"; }

lint_spelling() {
    "$venv/bin/codespell" --skip='*.pyc,*_cache' --ignore-words-list=aas,caf,chage,te agent tests dbus systemd packaging .ci .github ./*.md pyproject.toml
}

lint_shell() {
    local scripts=()
    mapfile -t scripts < <(grep -rlIE '^#!/bin/(ba)?sh|^# shellcheck shell=' packaging .ci)
    shellcheck --external-sources "${scripts[@]}"
}

lint_xml() {
    xmllint --nonet --noout dbus/*.xml dbus/*.conf
    xmllint --nonet --noout --dtdvalid /usr/share/polkit-1/policyconfig-1.dtd dbus/*.policy
}

# lint_man: man pages that groff has nothing to say about.
lint_man() {
    local page said made status=0
    made=$(mktemp -d)
    packaging/lib/generate "$made"
    for page in packaging/man/*.[1-8] "$made"/man/*.[1-8]; do
        said=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
        [[ -z $said ]] || { echo "$page: $said" && status=1; }
    done
    rm -r "$made"
    return "$status"
}

lint_lintian() { lintian --no-cfg --fail-on error,warning "$1"; }

# lint_unit SUITE PACKAGE: the unit as this release's systemd reads it, and how exposed it leaves the host (15 is 1.5).
lint_unit() {
    local tree
    tree=$(packaging/lib/tree host "$1" "$2")
    packaging/lib/container run "$tree" "unit-$1-$$" --private-network -- sh -ec '
        systemd-analyze verify --man=no missiond.service missiond-helper.service missiond-helper.socket \
            missiond-keep@1000.service missiond-session@1000.service missiond-give-back.service \
            missiond-units@.service missiond-units.socket missiond-peers.service missiond-running.target 2>&1 | tee /tmp/said
        ! grep -q missiond /tmp/said
        systemd-analyze security --offline=true --threshold=15 --no-pager missiond.service | tail -n 2
        systemd-analyze security --offline=true --threshold=15 --no-pager missiond-peers.service | tail -n 2
        systemd-analyze security --offline=true --threshold=20 --no-pager missiond-helper.service | tail -n 2
        systemd-analyze security --offline=true --threshold=25 --no-pager missiond-give-back.service | tail -n 2
        systemd-analyze security --offline=true --threshold=20 --no-pager missiond-units@.service | tail -n 2'
}
