package native

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	osexec "os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gm/engine"
)

func TestManyCallsAtOnce(t *testing.T) {
	f := newFake()
	var asked sync.WaitGroup
	asked.Add(200)
	f.decide = func(e event) func() error {
		asked.Done()
		return func() error {
			asked.Wait() // and then the answers come in any order
			return &engine.JobError{Result: "of " + e.(evJob).job.Unit}
		}
	}
	h := homeOf(t)
	serving(t, h, f)
	c := client(t, ClientOptions{Home: h})
	ctx := limited(t)
	var wait sync.WaitGroup
	for i := range 200 {
		wait.Go(func() {
			job := engine.Job{Op: engine.Start, Unit: fmt.Sprintf("web@%d.service", i)}
			var failed *engine.JobError
			if err := c.Do(ctx, job); !errors.As(err, &failed) || failed.Result != "of "+job.Unit || failed.Job != job {
				t.Errorf("%s: got %v", job.Unit, err)
			}
		})
	}
	wait.Wait()
	if n := len(f.seen()); n != 200 {
		t.Errorf("%d jobs were asked for", n)
	}
}

func TestEveryCall(t *testing.T) {
	f := newFake()
	f.states["web.service"] = aState("web.service", 17)
	h := homeOf(t)
	serving(t, h, f)
	c := client(t, ClientOptions{Home: h})
	ctx := limited(t)
	states, err := c.Units(ctx, engine.Full, []string{"web.service", "not.service"})
	if err != nil || len(states) != 1 || !states["web.service"].Since.Equal(f.states["web.service"].Since) || states["web.service"].MainPID != 17 {
		t.Errorf("Units: %+v, %v", states, err)
	}
	if err := c.Reload(ctx); err != nil {
		t.Error(err)
	}
	if err := c.ResetFailed(ctx, "web.service"); err != nil {
		t.Error(err)
	}
	if err := c.Kill(ctx, "web.service", 15, false); err != nil {
		t.Error(err)
	}
	if err := c.Kill(ctx, "not.service", 15, false); err == nil || !strings.Contains(err.Error(), "it does not run") {
		t.Errorf("Kill: %v", err)
	}
	info, err := c.Info(ctx)
	if want, _ := f.info(); err != nil || info != want {
		t.Errorf("Info: %+v, %v", info, err)
	}
	ended, err := c.Pull(ctx, "shop.target", []string{"web.service"})
	if err == nil {
		err = ended(ctx, "web.service")
	}
	if err != nil {
		t.Error(err)
	}
	var pull callID
	for _, e := range f.seen() {
		switch e := e.(type) {
		case evPull:
			pull = e.call
		case evJoin:
			if e.pull != pull || e.unit != "web.service" {
				t.Errorf("%+v is not of the pull %d", e, pull)
			}
		}
	}
	if pull == 0 {
		t.Error("nothing was pulled")
	}
}

func TestRefusedPullStartsEach(t *testing.T) {
	f := newFake()
	f.decide = func(e event) func() error {
		return func() error {
			if _, ok := e.(evPull); ok {
				return errors.New("no such unit")
			}
			return nil
		}
	}
	h := homeOf(t)
	serving(t, h, f)
	c := client(t, ClientOptions{Home: h})
	ended, err := c.Pull(limited(t), "shop.target", []string{"web.service"})
	if err != nil {
		t.Fatal(err)
	}
	if err := ended(limited(t), "web.service"); err != nil {
		t.Error(err)
	}
	events := f.seen()
	if e, ok := events[len(events)-1].(evJob); !ok || e.job != (engine.Job{Op: engine.Start, Unit: "web.service"}) {
		t.Errorf("got %+v", events)
	}
}

func TestCancelGivesUpTheWaitAlone(t *testing.T) {
	f := newFake()
	answer := make(chan struct{})
	f.decide = func(e event) func() error {
		return func() error {
			if e.(evJob).job.Unit == "slow.service" {
				<-answer
			}
			return nil
		}
	}
	h := homeOf(t)
	s := serving(t, h, f)
	c := client(t, ClientOptions{Home: h})
	ctx, cancel := context.WithCancel(limited(t))
	over := make(chan error)
	go func() { over <- c.Do(ctx, engine.Job{Op: engine.Start, Unit: "slow.service"}) }()
	comesAbout(t, "the job is asked for", func() bool { return len(f.seen()) == 1 })
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "cannot start slow.service") {
		t.Errorf("got %v", err)
	}
	comesAbout(t, "nobody waits", func() bool { return s.calls() == 0 })
	close(answer) // must not be taken for the answer of the next call
	if err := c.Do(limited(t), engine.Job{Op: engine.Start, Unit: "quick.service"}); err != nil {
		t.Error(err)
	}
}

// calls counts the calls under way.
func (s *server) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for one := range s.sessions {
		one.mu.Lock()
		n += len(one.waiting)
		one.mu.Unlock()
	}
	return n
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

func TestClientThatGoesAway(t *testing.T) {
	f := newFake()
	answer := make(chan struct{})
	f.decide = func(event) func() error { return func() error { <-answer; return nil } }
	h := homeOf(t)
	s := serving(t, h, f)
	before := runtime.NumGoroutine()
	g, err := h.dial(limited(t), wantCalls)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for i := range 50 {
		b = appendRequest(b, &request{op: opJob, id: uint64(i + 1), job: engine.Job{Op: engine.Start, Unit: "a.service"}})
	}
	b = appendRequest(b, &request{op: opWatch, id: 99, names: []string{"a.service"}})
	b = append(b, 200, 0, 0, 0, 1) // and half a frame
	if _, err := g.Write(b); err != nil {
		t.Fatal(err)
	}
	comesAbout(t, "all is asked for", func() bool { return s.calls() == 51 })
	g.Close()
	comesAbout(t, "the connection is given up", func() bool { return s.connections() == 0 && f.watching() == 0 })
	close(answer)
	comesAbout(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestSlowWatcher(t *testing.T) {
	f := newFake()
	h := homeOf(t)
	s := serving(t, h, f)
	c := client(t, ClientOptions{Home: h})
	ctx, cancel := context.WithCancel(limited(t))
	defer cancel()
	changes, err := c.Watch(ctx, []string{"web.service"})
	if err != nil {
		t.Fatal(err)
	}
	const many = 50_000 // a few MB, which neither the server nor the kernel keeps
	for i := range many {
		f.set(aState("web.service", i+1))
	}
	if _, err := c.Units(limited(t), engine.Brief, []string{"web.service"}); err != nil {
		t.Fatal(err)
	}
	if n := s.unwritten(); n > full+keptBuffer {
		t.Errorf("%d bytes wait for a client that does not read", n)
	}
	last := 0
	for s := range changes {
		if s.MainPID <= last {
			t.Fatalf("%d is told after %d", s.MainPID, last)
		}
		if last = s.MainPID; last == many {
			break
		}
	}
	cancel()
	for range changes {
	}
	comesAbout(t, "nobody watches", func() bool { return f.watching() == 0 })
}

func (s *server) unwritten() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for one := range s.sessions {
		one.out.mu.Lock()
		n += len(one.out.buf)
		one.out.mu.Unlock()
	}
	return n
}

func TestGarbage(t *testing.T) {
	hello := greeting + " 1 calls\n"
	frame := func(b []byte) string {
		return string(binary.LittleEndian.AppendUint32(nil, uint32(len(b)))) + string(b)
	}
	start := request{op: opJob, id: 1, job: engine.Job{Op: engine.Start, Unit: "a.service"}}
	for name, text := range map[string]string{
		"nothing known":     "GET / HTTP/1.1\r\n\r\n",
		"no line":           strings.Repeat("x", 2*longestGreeting),
		"no version":        greeting + " one calls\n",
		"no such wish":      greeting + " 1 dance\n",
		"other version":     greeting + " 99 calls\n",
		"not a program":     greeting + " 1 replace \"\n",
		"no frame":          hello + "\x00\x00\x00\x00",
		"too long":          hello + "\xff\xff\xff\xff",
		"longer than it is": hello + frame([]byte{byte(opUnits), 1, 0, 255, 255, 255, 255, 15}),
		"no such op":        hello + frame([]byte{77, 1}),
		"answer":            hello + frame([]byte{byte(opDone), 1, 0}),
		"no such job":       hello + frame([]byte{byte(opJob), 1, 9, 1, 'a', 0, 0}),
		"no such detail":    hello + frame([]byte{byte(opUnits), 1, 9, 0}),
		"no such pull":      hello + string(appendRequest(nil, &request{op: opJoin, id: 1, pull: 5})),
		"number twice":      hello + string(appendRequest(appendRequest(nil, &start), &start)),
		"watch twice": hello + string(appendRequest(appendRequest(nil, &request{op: opWatch, id: 1}),
			&request{op: opWatch, id: 1})),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.decide = func(event) func() error { return nil }
			f.again = func(string) error { return errors.New("no") }
			h := homeOf(t)
			s := serving(t, h, f)
			conn, err := h.connect(limited(t))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conn, text)
			if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is not closed")
			}
			comesAbout(t, "it is forgotten", func() bool { return s.connections() == 0 })
			c := client(t, ClientOptions{Home: h})
			if _, err := c.Info(limited(t)); err != nil {
				t.Errorf("others are not served any more: %v", err)
			}
		})
	}
}

// A length is not taken for granted: memory comes with the bytes.
func TestLengthAloneTakesNoMemory(t *testing.T) {
	in := frames{r: bufio.NewReader(strings.NewReader("\x00\x00\x00\x04abc")), longest: 1 << 30}
	if _, err := in.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if cap(in.buf) > 2*keptBuffer {
		t.Errorf("%d bytes were taken", cap(in.buf))
	}
}

func TestOtherVersion(t *testing.T) {
	h := homeOf(t)
	release, err := h.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	l, err := h.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // a supervisor of the next version, which keeps the greeting
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, want, _ := readGreeting(bufio.NewReader(conn))
			_, _ = fmt.Fprintf(conn, "%s %d 4711 and more\n", greeting, protocol+1)
			if want == wantInfo {
				_, _ = io.WriteString(conn, `{"PID":4711,"Version":"9","Mood":"good"}`+"\n")
			}
			conn.Close()
		}
	}()
	c := client(t, ClientOptions{Home: h, Start: func(context.Context) error { return errors.New("must not be called") }})
	for name, err := range map[string]error{
		"units": second(c.Units(limited(t), engine.Brief, nil)),
		"start": c.Do(limited(t), engine.Job{Op: engine.Start, Unit: "a.service"}),
		"watch": second(c.Watch(limited(t), nil)),
	} {
		if !errors.Is(err, engine.ErrUnreachable) || !strings.Contains(fmt.Sprint(err), "`gm supervise --replace`") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if info, err := c.Info(limited(t)); err != nil || info.Version != "9" {
		t.Errorf("got %+v, %v", info, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestEndAnswersWhenAllIsDown(t *testing.T) {
	f := newFake()
	h := homeOf(t)
	release, err := h.lock()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(h, f)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, ClientOptions{Home: h})
	over := make(chan error, 1)
	go func() { over <- c.End(limited(t)) }()
	<-f.ending
	select {
	case err := <-over:
		t.Fatalf("it is over before everything is down: %v", err)
	default:
	}
	s.close()
	select {
	case err := <-over:
		t.Fatalf("it is over before another one can be started: %v", err)
	default:
	}
	release()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(h.Socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := c.End(limited(t)); err != nil {
		t.Errorf("with no supervisor: %v", err)
	}
}

// What was answered before the end is written, and a client that does not read keeps nobody.
func TestCloseWritesWhatIsAnswered(t *testing.T) {
	f := newFake()
	h := homeOf(t)
	release, err := h.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	s, err := newServer(h, f)
	if err != nil {
		t.Fatal(err)
	}
	g, err := h.dial(limited(t), wantCalls)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	const calls = 100 // of which the kernel keeps the answers
	var b []byte
	for i := range calls {
		b = appendRequest(b, &request{op: opReset, id: uint64(i + 1), job: engine.Job{Unit: "a.service"}})
	}
	if _, err := g.Write(b); err != nil {
		t.Fatal(err)
	}
	comesAbout(t, "all is answered", func() bool { return len(f.seen()) == calls && s.calls() == 0 })
	s.close()
	in := frames{r: g.r, longest: longestAnswer}
	for i := range calls {
		if _, err := in.next(); err != nil {
			t.Fatalf("answer %d of %d: %v", i, calls, err)
		}
	}
}

func TestCloseDoesNotWaitForSomeoneWhoDoesNotRead(t *testing.T) {
	f := newFake()
	h := homeOf(t)
	for i := range 500 {
		s := aState(fmt.Sprintf("web@%d.service", i), i)
		f.states[s.Name] = s
	}
	s := serving(t, h, f)
	g, err := h.dial(limited(t), wantCalls)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	list := namesOf(f.states)
	for i := range 10 {
		if _, err := g.Write(appendRequest(nil, &request{op: opUnits, id: uint64(i + 1), names: list})); err != nil {
			t.Fatal(err)
		}
	}
	comesAbout(t, "answers wait", func() bool { return s.unwritten() > 0 })
	before := time.Now()
	s.close()
	if took := time.Since(before); took > 5*flushLimit {
		t.Errorf("it took %v", took)
	}
}

func TestReplaceThatFails(t *testing.T) {
	f := newFake()
	asked := ""
	f.again = func(program string) error {
		asked = program
		return errors.New("exec format error")
	}
	h := homeOf(t)
	serving(t, h, f)
	c := client(t, ClientOptions{Home: h})
	odd := "/opt/my \"gm\"\n/gm"
	err := c.Replace(limited(t), odd)
	if asked != odd || err == nil || !strings.HasSuffix(err.Error(), ": exec format error") {
		t.Errorf("got %v of %q", err, asked)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	h := homeOf(t)
	left, err := net.Listen("unix", h.Socket())
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	c := client(t, ClientOptions{Home: h})
	if states, err := c.Units(limited(t), engine.Brief, []string{"a.service"}); err != nil || len(states) != 0 {
		t.Errorf("with a socket that nobody listens at: %v, %v", states, err)
	}
	serving(t, h, newFake())
	if _, err := c.Info(limited(t)); err != nil {
		t.Error(err)
	}
	info, err := os.Lstat(h.Socket())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

func TestLongHome(t *testing.T) {
	h := Home(t.TempDir() + "/" + strings.Repeat("d", 200))
	serving(t, h, newFake())
	c := client(t, ClientOptions{Home: h})
	if _, err := c.Info(limited(t)); err != nil {
		t.Error(err)
	}
	if fds := h.descriptors(); len(fds) != 2 {
		t.Errorf("lock and socket are %v", fds)
	}
}

func TestOtherUserIsDenied(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("GM_REQUIRE_SYSTEMD") == "1" {
			t.Fatal("it needs root")
		}
		t.Skip("it needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "gm-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	h := Home(dir)
	serving(t, h, newFake())
	ask := func() string {
		cmd := osexec.Command(testProgram(t), "-test.run=^TestProcessOfOtherTests$")
		cmd.Env = []string{"GM_TEST_PROCESS=info", "GM_TEST_HOME=" + dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := ask(); !strings.Contains(out, engine.ErrDenied.Error()+": "+h.Socket()) {
		t.Errorf("of a home that is another user's: %s", out)
	}
	for _, path := range []string{dir, h.Socket()} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if out := ask(); !strings.Contains(out, engine.ErrDenied.Error()) || !strings.Contains(out, "serves root and its own user alone") {
		t.Errorf("when anybody can connect: %s", out)
	}
}

// testProgram is this test, where every user may execute it.
func testProgram(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "gm-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.ReadFile(executable(t))
	if err == nil {
		err = os.WriteFile(dir+"/native.test", self, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir + "/native.test"
}

func executable(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func BenchmarkUnits500(b *testing.B) {
	f := newFake()
	for i := range 500 {
		s := aState(fmt.Sprintf("web-api-%d@%d.service", i/10, i%10), 1000+i)
		f.states[s.Name] = s
	}
	h := homeOf(b)
	serving(b, h, f)
	c := client(b, ClientOptions{Home: h})
	list := namesOf(f.states)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if states, err := c.Units(ctx, engine.List, list); err != nil || len(states) != 500 {
			b.Fatal(len(states), err)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	f := newFake()
	h := homeOf(b)
	serving(b, h, f)
	c := client(b, ClientOptions{Home: h})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Do(ctx, engine.Job{Op: engine.Start, Unit: "web.service"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDo500AtOnce(b *testing.B) {
	f := newFake()
	h := homeOf(b)
	serving(b, h, f)
	c := client(b, ClientOptions{Home: h})
	ctx := context.Background()
	var failures atomic.Int64
	for b.Loop() {
		var wait sync.WaitGroup
		for range 500 {
			wait.Go(func() {
				if c.Do(ctx, engine.Job{Op: engine.Start, Unit: "web.service"}) != nil {
					failures.Add(1)
				}
			})
		}
		wait.Wait()
	}
	if n := failures.Load(); n > 0 {
		b.Error(n)
	}
}

func BenchmarkConnect(b *testing.B) {
	h := homeOf(b)
	serving(b, h, newFake())
	ctx := context.Background()
	for b.Loop() {
		c := Open(ClientOptions{Home: h})
		if _, err := c.Units(ctx, engine.Brief, nil); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
