package native

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// sockets are the sockets and FIFOs of socket units: systemd.socket(5). They stay open as
// long as their unit is active, whatever becomes of the services that have them.
type sockets struct {
	post   func(event)
	opened map[string][]*socket
	kept   map[string][]int // of regain: a descriptor for each Listen…= line, or -1
	poll   *poller
}

type socket struct {
	fd   int
	name string // FileDescriptorName=
	path string // of the file system, "" for others
	gone bool   // RemoveOnStop=
}

func newSockets(post func(event)) *sockets {
	return &sockets{post: post, opened: map[string][]*socket{}, kept: map[string][]int{}}
}

// open makes the sockets of a unit, all or none. Those that were inherited stay.
func (s *sockets) open(unit string, def *definition) error {
	if len(s.opened[unit]) > 0 {
		return nil
	}
	d := def.socket
	var made []*socket
	kept := s.kept[unit]
	delete(s.kept, unit)
	for i, l := range d.listen {
		fd, path, err := -1, pathOf(l), error(nil)
		if i < len(kept) {
			fd = kept[i]
		}
		if fd < 0 {
			fd, path, err = listen(d, l)
		}
		if err != nil {
			for _, m := range made {
				_ = unix.Close(m.fd)
			}
			for _, fd := range kept[min(i, len(kept)):] {
				if fd >= 0 {
					_ = unix.Close(fd)
				}
			}
			return &spawnError{step: "ADDRESS", code: exitResources, err: fmt.Errorf("cannot listen on %s: %w", l.address, err)}
		}
		name := unit
		if len(d.names) > 0 {
			name = d.names[min(i, len(d.names)-1)]
		}
		made = append(made, &socket{fd, name, path, d.removeOnStop})
	}
	s.opened[unit] = made
	return nil
}

// close closes a unit's sockets. Clients that wait in their queue are refused.
func (s *sockets) close(unit string) {
	for _, k := range s.opened[unit] {
		if s.poll != nil {
			s.poll.forget(k.fd)
		}
		_ = unix.Close(k.fd)
		if k.gone && k.path != "" {
			_ = os.Remove(k.path)
		}
	}
	delete(s.opened, unit)
}

// listen asks to be told when there is something to read on a unit's sockets.
func (s *sockets) listen(unit string) {
	if s.poll == nil {
		p, err := newPoller()
		if err != nil {
			return
		}
		s.poll = p
	}
	list := s.opened[unit]
	fds := make([]int, len(list))
	for i, k := range list {
		fds[i] = k.fd
	}
	s.poll.await(fds, func() { s.post(evIncoming{unit}) })
}

// files returns the descriptors of several socket units, as a service gets them.
func (s *sockets) files(units []string) (fds []uintptr, names []string) {
	for _, unit := range units {
		for _, k := range s.opened[unit] {
			fds = append(fds, uintptr(k.fd))
			names = append(names, k.name)
		}
	}
	return fds, names
}

// closeAll closes what is open.
func (s *sockets) closeAll() {
	for unit := range s.opened {
		s.close(unit)
	}
	if s.poll != nil {
		s.poll.close()
	}
}

var socketTypes = map[string]int{"stream": unix.SOCK_STREAM, "datagram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET}

// pathOf returns where in the file system a socket is, "" if it is not there.
func pathOf(l listenDef) string {
	if strings.HasPrefix(l.address, "/") {
		return l.address
	}
	return ""
}

// listen makes one socket or FIFO.
func listen(d *socketDef, l listenDef) (fd int, path string, err error) {
	if l.typ == "fifo" {
		return listenFIFO(d, l.address)
	}
	typ, ok := socketTypes[l.typ]
	if !ok {
		return -1, "", fmt.Errorf("there is no such socket: %s", l.typ)
	}
	addr, family, err := address(l.address)
	if err != nil {
		return -1, "", err
	}
	if fd, err = newSocket(family, typ); err != nil {
		return -1, "", err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if family == unix.AF_UNIX {
		if path = addr.(*unix.SockaddrUnix).Name; strings.HasPrefix(path, "@") {
			path = ""
		}
	} else {
		setOptions(fd, d, family, typ)
	}
	if path != "" {
		if err = makeParents(path, d.dirMode); err != nil {
			return -1, "", err
		}
		// One that a killed supervisor has left, unless a program still answers there.
		if info, stat := os.Lstat(path); stat == nil && info.Mode()&fs.ModeSocket != 0 {
			if isAnswered(typ, addr) {
				err = os.NewSyscallError("bind", unix.EADDRINUSE)
				return -1, "", err
			}
			_ = os.Remove(path)
		}
	}
	if err = bind(fd, addr, path, d); err != nil {
		return -1, "", err
	}
	if typ != unix.SOCK_DGRAM {
		backlog := d.backlog
		if backlog <= 0 {
			backlog = unix.SOMAXCONN
		}
		err = unix.Listen(fd, backlog)
	}
	return fd, path, err
}

// isAnswered reports whether a program has a socket at an address.
func isAnswered(typ int, addr unix.Sockaddr) bool {
	fd, err := newSocket(unix.AF_UNIX, typ)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_ = unix.SetNonblock(fd, true)
	err = unix.Connect(fd, addr)
	return err == nil || err == unix.EAGAIN
}

// bind gives a socket its address; one of the file system gets its mode at once, so that
// nobody who must not gets in before.
func bind(fd int, addr unix.Sockaddr, path string, d *socketDef) error {
	if path == "" {
		return os.NewSyscallError("bind", unix.Bind(fd, addr))
	}
	umask := unix.Umask(0o777 &^ d.mode)
	err := unix.Bind(fd, addr)
	unix.Umask(umask)
	if err != nil {
		return os.NewSyscallError("bind", err)
	}
	return owned(path, d)
}

func setOptions(fd int, d *socketDef, family, typ int) {
	set := func(level, option, value int) { _ = unix.SetsockoptInt(fd, level, option, value) }
	if typ == unix.SOCK_STREAM {
		set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if d.reusePort {
		set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if d.keepAlive {
		set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	}
	if d.noDelay && typ == unix.SOCK_STREAM {
		set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if family == unix.AF_INET6 {
		switch d.bindIPv6Only {
		case "both":
			set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
		case "ipv6-only":
			set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		}
	}
	if d.freeBind {
		setFreeBind(fd)
	}
}

// address reads the address of a Listen…= line: a port alone is one of every interface.
func address(text string) (unix.Sockaddr, int, error) {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "@") {
		return &unix.SockaddrUnix{Name: text}, unix.AF_UNIX, nil
	}
	if port, err := strconv.ParseUint(text, 10, 16); err == nil {
		if !hasIPv6() {
			return &unix.SockaddrInet4{Port: int(port)}, unix.AF_INET, nil
		}
		return &unix.SockaddrInet6{Port: int(port)}, unix.AF_INET6, nil
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return nil, 0, fmt.Errorf("%q is no address: a port, ADDRESS:PORT, a path or @NAME is expected", text)
	}
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, unix.AF_INET, nil
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}, unix.AF_INET6, nil
}

var hasIPv6 = sync.OnceValue(func() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
})

// listenFIFO opens a FIFO for both directions, so that it never ends for its reader nor
// breaks for its writers, whichever of them go.
func listenFIFO(d *socketDef, path string) (fd int, _ string, err error) {
	if err := makeParents(path, d.dirMode); err != nil {
		return -1, "", err
	}
	umask := unix.Umask(0o777 &^ d.mode)
	err = unix.Mkfifo(path, uint32(d.mode))
	unix.Umask(umask)
	if err != nil && err != unix.EEXIST {
		return -1, "", os.NewSyscallError("mkfifo", err)
	}
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, "", os.NewSyscallError("open", err)
	}
	var stat unix.Stat_t
	if err = unix.Fstat(fd, &stat); err == nil && stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		err = fmt.Errorf("%s is there and is no FIFO", path)
	}
	if err == nil {
		err = owned(path, d)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, "", err
	}
	if d.pipeSize > 0 {
		setPipeSize(fd, d.pipeSize)
	}
	return fd, path, nil
}

// makeParents makes the directories of a socket's path.
func makeParents(path string, mode int) error {
	return os.MkdirAll(filepath.Dir(path), fs.FileMode(mode))
}

// owned gives a socket of the file system its user, group and mode.
func owned(path string, d *socketDef) error {
	if err := os.Chmod(path, fs.FileMode(d.mode)); err != nil {
		return err
	}
	if d.user == "" && d.group == "" {
		return nil
	}
	uid, gid := -1, -1
	if d.user != "" {
		u, err := user.Lookup(d.user)
		if err != nil {
			if u, err = user.LookupId(d.user); err != nil {
				return err
			}
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
	}
	if d.group != "" {
		g, err := user.LookupGroup(d.group)
		if err != nil {
			if g, err = user.LookupGroupId(d.group); err != nil {
				return err
			}
		}
		gid, _ = strconv.Atoi(g.Gid)
	}
	return os.Chown(path, uid, gid)
}
