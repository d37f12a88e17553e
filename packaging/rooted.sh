#!/bin/sh
# Runs a command where "/" is a mount point. In a bare chroot it is none, and there Podman cannot unpack an image's layers
# (it makes "/" private first), so the command gets a mount namespace in which the same tree is mounted as its root.
set -eu
if [ "$(id -u)" != 0 ] || awk '$5 == "/" { found = 1 } END { exit !found }' /proc/self/mountinfo; then
    exec "$@"
fi
if [ "${CLOUDLET_ROOTED:-}" != yes ]; then
    CLOUDLET_ROOTED=yes exec unshare --mount --propagation unchanged "$0" "$@"
fi
tree=$(mktemp -d)
mount --rbind / "$tree"
mount --make-rslave "$tree"
# shellcheck disable=SC2016
chroot "$tree" sh -c 'cd "$1" && shift && exec "$@"' sh "$PWD" "$@" && status=0 || status=$?
umount -R -l "$tree" && rmdir "$tree"
exit "$status"
