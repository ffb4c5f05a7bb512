package native

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"gm/engine"
)

// served is what the server asks of the loop. Its methods are called by any goroutine, and
// wait for nothing but the loop.
type served interface {
	// call feeds an event whose effReply goes to answer, which must not wait.
	call(ev func(id callID) event, answer func(error))
	units(detail engine.Detail, names []string) (map[string]engine.UnitState, error)
	// watch tells of changes until cancel is called. However slowly they are read, it does
	// not make the loop wait.
	watch(names []string) (states <-chan engine.UnitState, cancel func())
	kill(unit string, signal int, all bool) error
	reload() error
	info() (Info, error)
	// end begins the end: server.close follows when everything was stopped.
	end()
	// replace returns only if it fails.
	replace(program string) error
}

// server answers clients on the socket of a home.
type server struct {
	served
	home     Home
	listener *net.UnixListener
	ended    chan struct{} // closed by close

	mu       sync.Mutex
	closed   bool
	sessions map[*session]struct{}
	// writing are those whose last words close waits for. Who waits for the loop is not among
	// them: it has ended by then.
	writing sync.WaitGroup
}

// newServer listens at h.Socket(), and serves at once. Who calls it holds the lock of h.
func newServer(h Home, l served) (*server, error) {
	listener, err := h.listen()
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w", h.Socket(), err)
	}
	s := &server{served: l, home: h, listener: listener, ended: make(chan struct{}), sessions: map[*session]struct{}{}}
	go s.accept()
	return s, nil
}

// flushLimit is how long a client that does not read can keep the supervisor from ending.
const flushLimit = time.Second

// close ends the server after what is answered by now was written: nobody is there any more who
// answers.
func (s *server) close() {
	_ = os.Remove(s.home.Socket())
	s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for one := range s.sessions {
		_ = one.conn.SetWriteDeadline(time.Now().Add(flushLimit))
		_ = one.conn.SetReadDeadline(time.Now())
		one.out.close()
	}
	s.mu.Unlock()
	close(s.ended)
	s.writing.Wait()
}

// beforeEnd runs f, which close waits for; not if close was called already.
func (s *server) beforeEnd(f func()) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.writing.Add(1)
	s.mu.Unlock()
	defer s.writing.Done()
	f()
}

// acceptPause is how long to wait after a failed accept(2): with no descriptor left
// it fails again and again.
const acceptPause = 50 * time.Millisecond

func (s *server) accept() {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-time.After(acceptPause):
			case <-s.ended:
			}
			continue
		}
		one := &session{server: s, conn: conn, out: newOutbox(), waiting: map[uint64]func(){}, pulls: map[uint64]callID{}}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			conn.Close()
			return
		}
		s.sessions[one] = struct{}{}
		s.mu.Unlock()
		go one.run()
	}
}

// session is one connection.
type session struct {
	*server
	conn *net.UnixConn
	out  *outbox

	mu sync.Mutex
	// waiting are the calls and watches under way, each with what ends it.
	waiting map[uint64]func()
	pulls   map[uint64]callID
}

// greetLimit is how long a peer may take for its greeting.
const greetLimit = 10 * time.Second

// mostCalls is how many calls of a connection may be under way at a time.
const mostCalls = 1 << 16

func (s *session) run() {
	defer func() {
		s.conn.Close()
		s.server.mu.Lock()
		delete(s.sessions, s)
		s.server.mu.Unlock()
	}()
	r := bufio.NewReaderSize(s.conn, longestGreeting)
	_ = s.conn.SetReadDeadline(time.Now().Add(greetLimit))
	version, want, err := readGreeting(r)
	if err != nil {
		return
	}
	// The mode of the socket keeps others out already, if nobody changed it.
	if uid, _, err := peer(s.conn); err != nil || uid != 0 && uid != os.Geteuid() {
		_, _ = fmt.Fprintf(s.conn, "%s %d %s\n", greeting, protocol, denied)
		return
	}
	_ = s.conn.SetReadDeadline(time.Time{})
	if _, err := fmt.Fprintf(s.conn, "%s %d %d\n", greeting, protocol, os.Getpid()); err != nil {
		return
	}
	want, argument, _ := strings.Cut(want, " ")
	switch want {
	case wantCalls:
		if version == protocol {
			s.serveCalls(r)
		}
	case wantInfo:
		if info, err := s.info(); err == nil {
			_ = json.NewEncoder(s.conn).Encode(info)
		}
	case wantEnd:
		s.beforeEnd(func() {
			s.end()
			<-s.ended
			_, _ = s.conn.Write([]byte("done\n"))
		})
	case wantReplace:
		program, err := strconv.Unquote(argument)
		if err == nil {
			err = s.replace(program)
		}
		_, _ = fmt.Fprintf(s.conn, "error %q\n", fmt.Sprint(err))
	}
}

func (s *session) serveCalls(r *bufio.Reader) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.beforeEnd(func() { s.out.run(s.conn) })
	}()
	in := frames{r: r, longest: longestRequest}
	for s.out.room() {
		var r request
		frame, err := in.next()
		if err == nil {
			r, err = parseRequest(frame)
		}
		if err == nil {
			err = s.handle(&r)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errEnded) {
			break // the server closes, and what was answered is still to be written
		}
		if err != nil {
			s.conn.Close()
			break
		}
	}
	s.giveUp()
	<-written
}

// giveUp ends what a client that is gone waited for. Its jobs go on.
func (s *session) giveUp() {
	s.out.close()
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, end := range waiting {
		end()
	}
}

// begin notes a call or watch. It fails for a number that is in use, and for too many.
func (s *session) begin(id uint64, end func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, used := s.waiting[id]; used || len(s.waiting) >= mostCalls {
		return errMalformed
	}
	s.waiting[id] = end
	return nil
}

// over takes back a call, and reports whether its answer is still waited for.
func (s *session) over(id uint64) (end func(), waited bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, waited = s.waiting[id]
	delete(s.waiting, id)
	return end, waited
}

// handle does what a request asks for. An error ends the connection.
func (s *session) handle(r *request) error {
	unit := r.job.Unit
	switch r.op {
	case opUnits:
		states, err := s.units(r.detail, r.names)
		if err != nil {
			return err
		}
		s.tellStates(r.id, states)
	case opReload:
		return s.done(r.id, s.reload())
	case opKill:
		return s.done(r.id, s.kill(unit, r.signal, r.all))
	case opJob:
		return s.ask(r.id, func(id callID) event { return evJob{id, r.job} }, nil)
	case opReset:
		return s.ask(r.id, func(id callID) event { return evReset{id, unit} }, nil)
	case opPull:
		var pull callID
		return s.ask(r.id, func(id callID) event {
			pull = id
			return evPull{id, unit}
		}, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.pulls[r.id] = pull
		})
	case opJoin:
		s.mu.Lock()
		pull, ok := s.pulls[r.pull]
		s.mu.Unlock()
		if !ok {
			return errMalformed
		}
		return s.ask(r.id, func(id callID) event { return evJoin{id, pull, unit} }, nil)
	case opWatch:
		return s.follow(r.id, r.names)
	case opCancel:
		if end, waited := s.over(r.id); waited {
			end()
		}
	}
	return nil
}

// ask has the loop answer a call. Noted, if given, is called when it was answered well, before
// the client is told so.
func (s *session) ask(id uint64, ev func(callID) event, noted func()) error {
	if err := s.begin(id, func() {}); err != nil {
		return err
	}
	s.call(ev, func(err error) {
		if err == nil && noted != nil {
			noted()
		}
		if _, waited := s.over(id); waited {
			_ = s.done(id, err)
		}
	})
	return nil
}

// done answers a call, unless the loop has ended: the connection does so then.
func (s *session) done(id uint64, err error) error {
	if errors.Is(err, errEnded) {
		return err
	}
	s.out.put(appendDone(nil, id, err))
	return nil
}

func (s *session) tellStates(id uint64, states map[string]engine.UnitState) {
	const usual = 160 // bytes of a state with its usage
	b, at := beginFrame(make([]byte, 0, 32+usual*len(states)), opStates, id)
	b = binary.AppendUvarint(b, uint64(len(states)))
	for _, state := range states {
		b = appendState(b, &state)
	}
	s.out.put(endFrame(b, at))
}

// follow tells of changes until the client gives them up. It waits for a slow client, and the loop
// does not.
func (s *session) follow(id uint64, names []string) error {
	states, cancel := s.watch(names)
	if err := s.begin(id, cancel); err != nil {
		cancel()
		return err
	}
	_ = s.done(id, nil)
	go func() {
		var frame []byte
		for state := range states {
			b, at := beginFrame(frame[:0], opStates, id)
			frame = endFrame(appendState(binary.AppendUvarint(b, 1), &state), at)
			if !s.out.room() {
				return
			}
			s.out.put(frame)
		}
	}()
	return nil
}
