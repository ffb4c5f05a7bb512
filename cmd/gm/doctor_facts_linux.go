package main

import (
	"bufio"
	endian "encoding/binary" // the package has a function binary
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

func statFile(path string) fileFacts {
	info, err := os.Stat(path)
	if err != nil {
		return fileFacts{err: err}
	}
	file := fileFacts{mode: info.Mode(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		file.uid, file.gid = int(st.Uid), int(st.Gid)
	}
	// Whether there is an access control list, not what it says.
	n, err := unix.Getxattr(path, "system.posix_acl_access", nil)
	file.acl = err == nil && n > 0
	return file
}

func diskOf(path string) diskFacts {
	d := diskFacts{path: path}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		d.err = err
		return d
	}
	d.free = st.Bavail * uint64(st.Bsize)
	if os.Geteuid() == 0 {
		d.free = st.Bfree * uint64(st.Bsize) // what is reserved is root's
	}
	d.inodes, d.hasInodes = st.Ffree, st.Files > 0
	d.readOnly = st.Flags&unix.ST_RDONLY != 0
	return d
}

// readCgroup says how cgroups are mounted: systemd.io/CGROUP_DELEGATION. A user's
// manager has the controllers that were handed to it.
func readCgroup(userScope bool) cgroupFacts {
	var c cgroupFacts
	var st unix.Statfs_t
	unified := "/sys/fs/cgroup"
	if err := unix.Statfs(unified, &st); err != nil {
		return c
	}
	switch {
	case st.Type == unix.CGROUP2_SUPER_MAGIC:
		c.kind = "v2"
	case unix.Statfs(unified+"/unified", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC:
		c.kind, unified = "hybrid", unified+"/unified"
	default:
		c.kind, unified = "v1", ""
	}
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil && c.kind != "v2" {
		c.legacy = true
	}
	if userScope {
		uid := strconv.Itoa(os.Geteuid())
		unified = filepath.Join(unified, "user.slice/user-"+uid+".slice/user@"+uid+".service")
	}
	controllers, _ := os.ReadFile(filepath.Join(unified, "cgroup.controllers")) // none, none
	for name := range strings.FieldsSeq(string(controllers)) {
		c.memory = c.memory || name == "memory"
	}
	return c
}

// probeSharePort has the kernel check the program of gm share-port, and attach it
// to nothing.
func probeSharePort() error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	const nothing = -1
	for _, attach := range []ebpf.AttachType{ebpf.AttachCGroupInet4Bind, ebpf.AttachCGroupInet6Bind} {
		if err := attachReusePort(nothing, attach); !errors.Is(err, unix.EBADF) {
			return err
		}
	}
	return nil
}

// readPorts reads who listens: proc_net(5).
func readPorts() (portTable, error) {
	table := portTable{owner: socketOwners()}
	for _, source := range []struct {
		file, network, state string
	}{
		{"tcp", "tcp", "0A"}, {"tcp6", "tcp", "0A"}, // TCP_LISTEN
		{"udp", "udp", "07"}, {"udp6", "udp", "07"}, // bound and not connected
	} {
		f, err := os.Open("/proc/net/" + source.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return table, err
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || fields[3] != source.state {
				continue
			}
			at, ok := procAddress(fields[1])
			inode, err := strconv.ParseUint(fields[9], 10, 64)
			if ok && err == nil {
				table.listeners = append(table.listeners, listener{source.network, at, inode})
			}
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return table, err
		}
	}
	return table, nil
}

// procAddress reads "0100007F:1F90": words in the order of the machine, then the
// port.
func procAddress(text string) (netip.AddrPort, bool) {
	address, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		endian.NativeEndian.PutUint32(raw[i:], endian.BigEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip, uint16(n)), ok
}

// socketOwners finds the processes of sockets. It looks through /proc once, when it
// is first asked.
func socketOwners() func(inode uint64) (owner, bool) {
	pids := sync.OnceValue(func() map[string]int {
		found := map[string]int{}
		entries, _ := os.ReadDir("/proc")
		for _, entry := range entries {
			pid, err := strconv.Atoi(entry.Name())
			if err != nil {
				continue
			}
			dir := filepath.Join("/proc", entry.Name(), "fd")
			fds, _ := os.ReadDir(dir) // of others only root may
			for _, fd := range fds {
				target, err := os.Readlink(filepath.Join(dir, fd.Name()))
				if err != nil || !strings.HasPrefix(target, "socket:") {
					continue
				}
				// systemd holds the sockets that it hands out; whoever has one of them too
				// tells more, and comes later.
				found[target] = pid
			}
		}
		return found
	})
	return func(inode uint64) (owner, bool) {
		pid, ok := pids()["socket:["+strconv.FormatUint(inode, 10)+"]"]
		if !ok {
			return owner{}, false
		}
		name, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
		session, _ := unix.Getsid(pid) // gone: 0
		return owner{pid, strings.TrimSpace(string(name)), unitOf(pid), session}, true
	}
}

// unitOf returns the unit whose cgroup a process is in: the unit is the last part
// of the path that looks like one, since a service may have cgroups below its own.
func unitOf(pid int) string {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup") // gone: none
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 || parts[1] != "" && parts[1] != "name=systemd" {
			continue
		}
		unit := ""
		for part := range strings.SplitSeq(parts[2], "/") {
			if strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
				unit = part
			}
		}
		if unit != "" {
			return unit
		}
	}
	return ""
}
