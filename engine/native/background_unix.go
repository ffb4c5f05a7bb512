package native

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startLimit is how long a supervisor may take until it serves calls.
const startLimit = 10 * time.Second

// readyText is what Ready says.
const readyText = "ready\n"

// StartInBackground starts a supervisor of h as a process of its own session, and returns when
// it serves calls. Argv is the command, its program with an absolute path; --ready-fd=N is
// added, and it is to call Ready with that number. What it prints goes to h.Journal(). The
// error wraps ErrRunning if there is one already.
func StartInBackground(h Home, argv, environ []string) error {
	// A supervisor of root's would run what another user may write.
	if info, err := os.Stat(string(h)); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("%s belongs to user %d: call gm as that user", h, st.Uid)
		}
	}
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return fmt.Errorf("cannot make the supervisor's directory: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	journal, err := os.OpenFile(h.Journal(), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the supervisor's log: %w", err)
	}
	defer journal.Close()
	before, err := journal.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	ready, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	defer tell.Close()
	// What a shell or a CI job left open for gm must not stay open as long as the
	// supervisor lives: someone may wait for its end.
	keepNoneOverExec()
	files := []*os.File{null, journal, journal, tell}
	p, err := os.StartProcess(argv[0], append(argv[:len(argv):len(argv)], fmt.Sprintf("--ready-fd=%d", len(files)-1)), &os.ProcAttr{
		Dir: "/", Env: append([]string{}, environ...), Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("cannot start the supervisor: %w", err)
	}
	go p.Wait() // whoever starts it may outlive it
	tell.Close()
	_ = ready.SetReadDeadline(time.Now().Add(startLimit))
	text, err := bufio.NewReader(ready).ReadString('\n')
	switch {
	case text == readyText:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the supervisor (process %d) was not ready within %v; see %s", p.Pid, startLimit, h.Journal())
	case h.isLocked():
		return fmt.Errorf("%w in %s%s", ErrRunning, h, h.holder())
	}
	const enough = 4 << 10
	said, _ := io.ReadAll(io.NewSectionReader(journal, before, enough))
	if why := strings.TrimSpace(string(said)); why != "" {
		return fmt.Errorf("the supervisor ended at once; in %s it says: %s", h.Journal(), why)
	}
	return fmt.Errorf("the supervisor (process %d) ended at once, and says nothing in %s", p.Pid, h.Journal())
}

// Ready tells StartInBackground, which gave this process fd, that calls are served. A negative
// one says that nobody waits.
func Ready(fd int) {
	if fd < 0 {
		return
	}
	pipe := os.NewFile(uintptr(fd), "ready")
	// Nobody may be there any more who listens.
	_, _ = pipe.WriteString(readyText)
	_ = pipe.Close()
}

// keepNoneOverExec has no descriptor behind the standard ones go to the programs that this
// process executes.
func keepNoneOverExec() {
	for _, fd := range openDescriptors() {
		unix.CloseOnExec(fd)
	}
}
