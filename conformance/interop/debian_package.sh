#!/bin/sh
# The Debian package in a Debian of its own: installed, started as its user, spoken with, installed again, removed, purged.
#
#     cargo install cargo-deb && cargo xtask deb
#     sudo debootstrap --variant=minbase --include=adduser stable /tmp/debian
#     sudo conformance/interop/debian_package.sh target/debian/zabra_*.deb /tmp/debian
#
# Ends with 0 and a last line "all as it should be". Nothing outside of that directory is changed.
set -eu
[ $# = 2 ] || { echo "usage: $0 PACKAGE DIRECTORY-OF-A-DEBIAN" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "$0: only root may change into another Debian" >&2; exit 2; }
cp "$1" "$2/tmp/zabra.deb"
cat >"$2/tmp/try.sh" <<'IN'
set -eu
says() { echo "$0: $1" >&2; exit 1; }
dpkg -i /tmp/zabra.deb
id zookeeper >/dev/null || says "no user"
[ "$(stat -c '%U %a' /var/lib/zookeeper)" = "zookeeper 750" ] || says "the directory of the data is open, or somebody else's"
[ -f /usr/lib/systemd/system/zabra.service ] || says "no unit"
[ "$(dpkg-query -W -f='${Conffiles}' zabra | cut -d' ' -f2)" = /etc/zookeeper/zoo.cfg ] || says "zoo.cfg is no conffile"
# What shells complete, and pages for man: of this very binary.
for shell in bash:bash-completion/completions/zabra zsh:zsh/vendor-completions/_zabra fish:fish/vendor_completions.d/zabra.fish; do
    zabra completions "${shell%%:*}" | cmp - "/usr/share/${shell#*:}" || says "completions for ${shell%%:*} are not those of the binary"
done
bash -c '. /usr/share/bash-completion/completions/zabra && complete -p zabra' >/dev/null || says "bash completes nothing"
zcat /usr/share/man/man1/zabra.1.gz | grep -q zabra || says "no page for man"
zcat /usr/share/man/man1/zabra-backup.1.gz | grep -q archive || says "no page of zabra backup"
port=24681
echo "clientPortAddress=127.0.0.1" >>/etc/zookeeper/zoo.cfg
sed -i "s/^clientPort=.*/clientPort=$port/" /etc/zookeeper/zoo.cfg
echo "admin.enableServer=false" >>/etc/zookeeper/zoo.cfg
# Without a shell in between, so that what is ended is the server.
setpriv --reuid=zookeeper --regid=zookeeper --clear-groups zabra serve /etc/zookeeper/zoo.cfg 2>/tmp/log &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
n=0
until zabra status /etc/zookeeper/zoo.cfg >/dev/null 2>&1; do
    n=$((n + 1)); [ $n -lt 100 ] || { cat /tmp/log; says "it does not serve"; }; sleep 0.1
done
zabra shell --server 127.0.0.1:$port create /kept x
# A second installation asks nothing and keeps what was changed.
dpkg -i /tmp/zabra.deb </dev/null
grep -q "^clientPort=$port" /etc/zookeeper/zoo.cfg || says "zoo.cfg was written over"
[ "$(zabra shell --server 127.0.0.1:$port get /kept)" = x ] || says "the server that runs was touched"
kill $server
wait $server || says "no orderly end"
dpkg -r zabra
[ -f /etc/zookeeper/zoo.cfg ] && [ -d /var/lib/zookeeper/version-2 ] || says "a removal takes configuration or data"
dpkg -P zabra
[ ! -e /etc/zookeeper/zoo.cfg ] || says "a purge leaves the configuration"
[ -d /var/lib/zookeeper/version-2 ] || says "a purge takes the data"
echo "all as it should be"
IN
exec chroot "$2" sh /tmp/try.sh
