# The guest's process 1 once the host's files are visible: mounts and network, then the agent until the host hangs up.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
HOME=/root
export HOME

for word in $(cat /proc/cmdline); do
  case $word in
    lab.folder=*) folder=${word#lab.folder=} ;;
    lab.node=*) node=${word#lab.node=} ;;
    lab.modules=*) modules=${word#lab.modules=} ;;
    lab.mtu=*) mtu=${word#lab.mtu=} ;;
  esac
done

mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock /dev/pts /dev/shm /lab
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs -o size=75% lab /lab

# The host may have a folder of that name, with its kernel headers.
mkdir -p /lib/modules
rm -rf "/lib/modules/$(uname -r)"
ln -sfn "$modules" "/lib/modules/$(uname -r)"
modprobe configfs
mount -t configfs config /sys/kernel/config
mount -t tracefs trace /sys/kernel/tracing

hostname iser-nbd-lab
ip link set lo up
ip link set eth0 mtu "$mtu" up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
# RDMA pins memory.
ulimit -l unlimited

"$node" "$folder/agent.mjs"
busybox poweroff -f
