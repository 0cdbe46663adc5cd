#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A program that knows nothing of missiond: says where and with what it runs, and stays.
printf '%s\n' "$PWD" "$@" >"${TOLD:-/dev/stdout}"
exec sleep "${STAY:-600}"
