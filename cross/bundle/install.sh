#!/bin/sh
# Installs the Edgefront agent on this device and starts it:
#   sudo ./install.sh
# Only lays its files out below a folder:
#   ./install.sh --root DIR
set -eu
# The agent's user reads what is installed, whatever the mask of who installs it.
umask 022

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=
case ${1-} in
'') ;;
--root)
    root=${2:?--root needs a folder}
    [ $# -eq 2 ] || {
        echo "unknown argument: $3; see $0 --help" >&2
        exit 2
    }
    ;;
-h | --help)
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*)
    echo "unknown argument: $1; see $0 --help" >&2
    exit 2
    ;;
esac

if [ -z "$root" ]; then
    machine=$(uname -m)
    case $machine in
    @MACHINES@) ;;
    *)
        echo "this bundle is for @ARCH@, and this device is $machine" >&2
        exit 1
        ;;
    esac
    # A kernel of 64 bits runs programs of 32 only where their libraries are, and a program may need newer ones.
    if ! "$here/root/opt/edgefront/edgefront-agent" --version >/dev/null; then
        echo "the agent of this bundle, for @ARCH@, does not start on this device, as said above; bundle one that is built for its system" >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        echo "this needs root: sudo $0" >&2
        exit 1
    fi
fi

settings=$root/etc/edgefront/agent.toml
if [ -f "$settings" ] && ! cmp -s "$settings" "$here/root/etc/edgefront/agent.toml"; then
    old=$settings.old
    number=1
    # Those of earlier times stay, too.
    while [ -e "$old" ]; do
        number=$((number + 1))
        old=$settings.old.$number
    done
    echo "kept the settings that were there as $old" >&2
    mv "$settings" "$old"
fi
# What runs must not be written to, and libraries that this bundle has not must not stay.
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl stop edgefront-agent.service 2>/dev/null || true
fi
mkdir -p "$root/"
rm -rf "$root/opt/edgefront"
cp -R "$here/root/." "$root/"
[ -n "$root" ] && exit 0

/opt/edgefront/set-up
if [ -d /run/systemd/system ]; then
    echo "the agent runs; the controller lists it with \`edgefront devices\`"
fi
