#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A program that knows nothing of missiond: says where and with what it runs, and stays.
if [ -n "${TOLD:-}" ]; then exec >"$TOLD"; fi
printf '%s\n' "$PWD" "$@"
exec sleep "${STAY:-600}"
