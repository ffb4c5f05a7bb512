package native

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gm/engine"
)

// longestAddress is what fits into the sun_path of every system: 104 bytes with the zero at the
// end on macOS, 108 on Linux.
const longestAddress = 103

// withAddress calls f with an address of the home's socket that a system call takes. For a long home it
// leads through a link in a directory that is there for this moment only and for nobody else.
func (h Home) withAddress(f func(address string) error) error {
	if len(h.Socket()) <= longestAddress {
		return f(h.Socket())
	}
	home, err := filepath.Abs(string(h))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/tmp", "gm-")
	if err != nil {
		return fmt.Errorf("its path of %d bytes is too long for a socket's address: %w", len(h.Socket()), err)
	}
	defer os.RemoveAll(dir)
	link := filepath.Join(dir, "home")
	if err := os.Symlink(home, link); err != nil {
		return err
	}
	return f(Home(link).Socket())
}

// listen makes the socket, in place of one that is left. The caller holds the lock. Nobody can
// connect before listen(2), and by then only the owner may.
func (h Home) listen() (*net.UnixListener, error) {
	if fd, ok := h.inheritedListener(); ok {
		return listenerOf(fd)
	}
	if err := os.Remove(h.Socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	syscall.ForkLock.RLock() // macOS has no SOCK_CLOEXEC
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	err = h.withAddress(func(address string) error { return unix.Bind(fd, &unix.SockaddrUnix{Name: address}) })
	if err == nil {
		err = os.Chmod(h.Socket(), 0o600)
	}
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return listenerOf(fd)
}

func listenerOf(fd int) (*net.UnixListener, error) {
	f := os.NewFile(uintptr(fd), "gm.sock")
	defer f.Close() // the listener has a copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	listener, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("it is a socket of %s", l.Addr().Network())
	}
	return listener, nil
}

// errNobody is the error of dial when no supervisor listens.
var errNobody = errors.New("no supervisor runs")

// greeted is a connection to a supervisor that has said who it is.
type greeted struct {
	*net.UnixConn
	r       *bufio.Reader
	version int
	pid     int
}

// dial connects and says what is wanted.
func (h Home) dial(ctx context.Context, want string) (_ *greeted, err error) {
	conn, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	g := &greeted{UnixConn: conn, r: bufio.NewReaderSize(conn, longestGreeting)}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	_, g.pid, _ = peer(conn)
	_ = conn.SetDeadline(time.Now().Add(greetLimit))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err = fmt.Fprintf(conn, "%s %d %s\n", greeting, protocol, want); err == nil {
		var rest string
		if g.version, rest, err = readGreeting(g.r); rest == denied {
			err = fmt.Errorf("%w: the supervisor of %s (process %d) serves root and its own user alone", engine.ErrDenied, h, g.pid)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%w: the supervisor of %s (process %d) does not answer", engine.ErrUnreachable, h, g.pid)
	case err == io.EOF, errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		// It is about to end, or to be replaced.
		return nil, fmt.Errorf("%w: process %d closed the connection", errNobody, g.pid)
	case err != nil:
		return nil, err
	case want == wantCalls && g.version != protocol:
		return nil, fmt.Errorf("%w: the supervisor of %s (process %d) is that of another gm: it speaks version %d of "+
			"the protocol, and this gm version %d; `gm supervise --replace` has it go on as this gm, and no app is restarted",
			engine.ErrUnreachable, h, g.pid, g.version, protocol)
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return g, conn.SetDeadline(time.Time{})
}

// connect connects to the socket. A queue of connections that is full is not waited for by a
// connect(2) that does not block.
func (h Home) connect(ctx context.Context) (*net.UnixConn, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var conn net.Conn
		err := h.withAddress(func(address string) (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, "unix", address)
			return err
		})
		switch {
		case err == nil:
			return conn.(*net.UnixConn), nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
			return nil, fmt.Errorf("%w: nothing listens at %s", errNobody, h.Socket())
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("%w: %s is for its owner and root", engine.ErrDenied, h.Socket())
		case !errors.Is(err, syscall.EAGAIN):
			return nil, fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isOf reports whether an address that a socket was bound to is one of withAddress.
func (h Home) isOf(address string) bool {
	if len(h.Socket()) <= longestAddress {
		return address == h.Socket()
	}
	return strings.HasPrefix(address, "/tmp/gm-") && strings.HasSuffix(address, Home("/home").Socket())
}
