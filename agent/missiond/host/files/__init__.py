# SPDX-License-Identifier: Apache-2.0
"""Changes of files, by inotify(7)."""
