#!/bin/busybox sh
# The guest's first program, from the initramfs: shows the host's files, read-only, under a layer that takes writes and
# is forgotten at power-off, and goes on with main.sh from there.
b=/bin/busybox

fail() {
  echo "init: $1 failed"
  $b poweroff -f
}

$b mount -t proc proc /proc || fail 'mount /proc'
$b mount -t sysfs sys /sys || fail 'mount /sys'
$b mount -t devtmpfs dev /dev || fail 'mount /dev'
for module in /modules/*; do
  $b insmod "$module" || fail "insmod $module"
done
# The host's files do not change while a guest runs, so the guest may remember what it has read.
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /host || fail 'mount /host'
$b mount -t tmpfs -o mode=755 writes /writes || fail 'mount /writes'
$b mkdir /writes/upper /writes/work
$b mount -t overlay -o lowerdir=/host,upperdir=/writes/upper,workdir=/writes/work root /root ||
  fail 'mount /root'
for folder in proc sys dev; do
  $b mount -o move /$folder /root/$folder || fail "move /$folder"
done
for word in $($b cat /root/proc/cmdline); do
  case $word in lab.folder=*) folder=${word#lab.folder=} ;; esac
done
exec $b switch_root /root /bin/busybox sh "$folder/main.sh"
echo 'init: switch_root failed'
