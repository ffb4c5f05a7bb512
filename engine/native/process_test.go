package native

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gm/engine"
)

// TestProcessOfOtherTests is what processes do that other tests start: what
// GM_TEST_PROCESS says.
func TestProcessOfOtherTests(t *testing.T) {
	h := Home(os.Getenv("GM_TEST_HOME"))
	switch os.Getenv("GM_TEST_PROCESS") {
	case "":
		t.Skip("this is for other tests")
	case "info":
		_, err := Open(ClientOptions{Home: h}).Info(context.Background())
		fmt.Println(err)
	case "supervise":
		if err := superviseFake(h); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "run":
		err := Run(context.Background(), Options{Home: h, Boot: true, Ready: func() { fmt.Println("ready") }})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "dumb":
		fmt.Fprintln(os.Stderr, "the dog ate it")
		os.Exit(1)
	}
	os.Exit(0)
}

// processEnviron is the environment of such a process.
func processEnviron(h Home, process string) []string {
	return []string{"GM_TEST_PROCESS=" + process, "GM_TEST_HOME=" + string(h), "GM_TEST_VERSION=1"}
}

func processCommand(t testing.TB) []string {
	return []string{executable(t), "-test.run=^TestProcessOfOtherTests$", "--"}
}

// superviseFake is a supervisor whose units are only in its state. It can be replaced, and then
// is one of the next version.
func superviseFake(h Home) error {
	version, _ := strconv.Atoi(os.Getenv("GM_TEST_VERSION"))
	release, err := h.lock()
	if err != nil {
		return err
	}
	defer release()
	store, left, err := openStore(h)
	if err != nil {
		return err
	}
	if err := store.boots(false); err != nil {
		return err
	}
	f := newFake()
	for _, r := range left {
		f.states[r.Unit] = stateOf(r)
	}
	f.decide = func(e event) func() error {
		job, ok := e.(evJob)
		if !ok {
			return func() error { return nil }
		}
		switch job.job.Unit {
		case "never.service":
			return nil
		case "crash.service":
			// The unit comes up, and the supervisor dies before it can say so.
			_ = store.save("crash.service", &record{
				Unit: "crash.service", Active: "active", Sub: "running", Main: proc{PID: 1}, Since: time.Now(), Started: time.Now(),
			})
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		r := record{Unit: job.job.Unit, Active: "active", Sub: "running", Main: proc{PID: 1}, Since: time.Now(), Started: time.Now()}
		return func() error {
			f.set(stateOf(r))
			return store.save(r.Unit, &r)
		}
	}
	f.again = func(program string) error {
		for _, fd := range h.descriptors() {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
				return err
			}
		}
		if err := os.Setenv("GM_TEST_VERSION", strconv.Itoa(version+1)); err != nil {
			return err
		}
		return syscall.Exec(program, []string{program, "-test.run=^TestProcessOfOtherTests$"}, os.Environ())
	}
	s, err := newServer(h, infoOf{f, version})
	if err != nil {
		return err
	}
	if arguments := strings.Join(os.Args, " "); strings.Contains(arguments, "--ready-fd=") {
		_, fd, _ := strings.Cut(arguments, "--ready-fd=")
		n, err := strconv.Atoi(fd)
		if err != nil {
			return err
		}
		Ready(n)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	select {
	case <-f.ending:
	case <-signals:
	}
	err = store.finish()
	s.close()
	return err
}

type infoOf struct {
	*fakeLoop
	version int
}

func (f infoOf) info() (Info, error) {
	return Info{PID: os.Getpid(), Version: strconv.Itoa(f.version)}, nil
}

// starter starts such supervisors, as gm does, and ends what is left of them.
func starter(t testing.TB, h Home) func(context.Context) error {
	t.Cleanup(func() {
		c := Open(ClientOptions{Home: h})
		if info, err := c.Info(limited(t)); err == nil {
			_ = syscall.Kill(info.PID, syscall.SIGKILL)
		}
	})
	return func(context.Context) error {
		return StartInBackground(h, processCommand(t), processEnviron(h, "supervise"))
	}
}

func TestStartInBackground(t *testing.T) {
	h := homeOf(t)
	// Someone waits for the end of a pipe that gm inherited.
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	waits := os.NewFile(uintptr(pipe[0]), "pipe")
	defer waits.Close()
	start := starter(t, h)
	if err := start(limited(t)); err != nil {
		t.Fatal(err)
	}
	syscall.Close(pipe[1])
	_ = unix.SetNonblock(pipe[0], true)
	if _, err := waits.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the supervisor has what is not its own: %v", err)
	}
	c := client(t, ClientOptions{Home: h})
	info, err := c.Info(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if sid, err := unix.Getsid(info.PID); err != nil || sid != info.PID {
		t.Errorf("its session is %d, %v", sid, err)
	}
	if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", info.PID)); err == nil && dir != "/" {
		t.Errorf("its directory is %s", dir)
	}
	for _, path := range []string{string(h), h.Units(), h.Env(), h.Run(), h.Logs()} {
		if st, err := os.Stat(path); err != nil || path != string(h) && st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	if st, err := os.Stat(h.Journal()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", h.Journal(), st.Mode(), err)
	}
	if err := start(limited(t)); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d)", info.PID)) {
		t.Errorf("a second one: %v", err)
	}
	if err := c.End(limited(t)); err != nil {
		t.Error(err)
	}
}

// A supervisor that follows one which was killed before it had started everything starts the rest,
// and one that follows another does not start what has ended.
func TestBootIsFinished(t *testing.T) {
	for name, tt := range map[string]struct {
		due  bool
		want string
	}{
		"killed in its boot": {true, "started\n"},
		"killed later":       {false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := homeOf(t)
			out := filepath.Join(t.TempDir(), "out")
			wants := filepath.Join(h.Units(), "multi-user.target.wants")
			unit := filepath.Join(h.Units(), "job.service")
			err := errors.Join(
				os.MkdirAll(wants, 0o700),
				os.WriteFile(unit, []byte("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo started >>"+out+"'\n"), 0o600),
				os.Symlink(unit, filepath.Join(wants, "job.service")),
				opened(t, h).boots(tt.due),
			)
			if err != nil {
				t.Fatal(err)
			}
			command := processCommand(t)
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Env = processEnviron(h, "run")
			cmd.Stderr = os.Stderr
			pipe, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(pipe).ReadString('\n'); line != "ready\n" {
				t.Fatalf("it says %q, %v", line, err)
			}
			c := client(t, ClientOptions{Home: h})
			if tt.want != "" {
				comesAbout(t, "the job has ended", func() bool {
					states, err := c.Units(limited(t), engine.Full, []string{"job.service"})
					return err == nil && !states["job.service"].Exit.At.IsZero()
				})
			}
			if err := c.End(limited(t)); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if got, _ := os.ReadFile(out); string(got) != tt.want {
				t.Errorf("the job wrote %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSupervisorThatDoesNotStart(t *testing.T) {
	h := homeOf(t)
	err := StartInBackground(h, processCommand(t), processEnviron(h, "dumb"))
	if err == nil || !strings.HasSuffix(err.Error(), "it says: the dog ate it") {
		t.Errorf("got %v", err)
	}
	if err := StartInBackground(h, []string{"/nonexistent/gm"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestReplaceKeepsLockAndSocket(t *testing.T) {
	for name, h := range map[string]Home{"home": homeOf(t), "long home": Home(t.TempDir() + "/" + strings.Repeat("d", 150))} {
		t.Run(name, func(t *testing.T) {
			c := client(t, ClientOptions{Home: h, Start: starter(t, h)})
			ctx := limited(t)
			if err := c.Do(ctx, startOf("web.service")); err != nil {
				t.Fatal(err)
			}
			before, err := c.Info(ctx)
			if err != nil {
				t.Fatal(err)
			}
			// Calls at any moment of the change are answered, and nobody starts another one.
			stop := make(chan struct{})
			over := make(chan error, 1)
			o := Open(ClientOptions{Home: h, Start: func(context.Context) error { return errors.New("one is there") }})
			go func() {
				for {
					select {
					case <-stop:
						over <- nil
						return
					default:
					}
					states, err := o.Units(ctx, 0, []string{"web.service"})
					if err == nil && states["web.service"].Active != "active" {
						err = fmt.Errorf("the unit is gone: %v", states)
					}
					if err != nil {
						over <- err
						return
					}
				}
			}()
			for want := range 5 {
				if err := c.Replace(ctx, executable(t)); err != nil {
					t.Fatal(err)
				}
				if info, err := c.Info(ctx); err != nil || info.PID != before.PID || info.Version != strconv.Itoa(want+2) {
					said, _ := os.ReadFile(h.Journal())
					t.Fatalf("was %+v, is %+v, %v; the journal says: %s", before, info, err, said)
				}
				if !h.isLocked() {
					t.Fatal("the lock is lost")
				}
			}
			close(stop)
			if err := <-over; err != nil {
				t.Error(err)
			}
			o.Close()
			if entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", before.PID)); err == nil && len(entries) > 20 {
				t.Errorf("it has %d descriptors", len(entries))
			}
			if err := c.End(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}
