package native

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gm/engine"
)

// protocol is the version of the frames. Both sides must have the same.
//
// A connection begins with a line of each side, which are the same in every version, so
// that one gm can be replaced by another:
//
//	gm-native 1 calls    the client: its version, and what it wants
//	gm-native 1 4711     the server: its version, and its process; or "denied"
//
// After "calls" come frames, in both directions. "info" is answered with a line of JSON, "end"
// with "done" when everything was stopped, `replace "PROGRAM"` with "error" and why not, or
// by the end of the connection. None of these needs the versions to agree.
const protocol = 2

const greeting = "gm-native"

const (
	wantCalls   = "calls"
	wantInfo    = "info"
	wantEnd     = "end"
	wantReplace = "replace"
)

// denied stands for the server's process in the line for a peer that it does not serve.
const denied = "denied"

// longestGreeting leaves room for what may hold the path of a program.
const longestGreeting = 8 << 10

// A frame is the length of what follows in 4 bytes, an op, the number of the call, and
// what the op says. Frames are binary because of `gm list`: writing and reading 500 states as
// JSON takes ten times as long.
type op byte

const (
	opUnits  op = 1 + iota // detail, names; answered by opStates
	opReload               //
	opJob                  // what, unit, flags
	opPull                 // unit
	opJoin                 // number of the opPull, unit
	opReset                // unit
	opKill                 // unit, signal, all
	opWatch                // names; answered by opDone, then opStates of one each
	opCancel               // gives up the call of this number
)

const (
	opDone   op = 128 + iota // an error, or that there is none
	opStates                 // how many, states
)

const (
	// A request is as long as the names in it: this is 100,000 of them.
	longestRequest = 4 << 20
	longestAnswer  = 64 << 20
)

// jobOps are the numbers of jobs in opJob.
var jobOps = []engine.Op{engine.Start, engine.Stop, engine.Restart, engine.Reload}

// request is what a client asks for.
type request struct {
	op     op
	id     uint64
	detail engine.Detail
	names  []string
	job    engine.Job // its Unit is that of every op with one unit
	pull   uint64
	signal int
	all    bool
}

func appendRequest(b []byte, r *request) []byte {
	b, at := beginFrame(b, r.op, r.id)
	switch r.op {
	case opUnits:
		b = append(b, byte(r.detail))
		b = appendStrings(b, r.names)
	case opWatch:
		b = appendStrings(b, r.names)
	case opJob:
		b = append(b, byte(slices.Index(jobOps, r.job.Op)))
		b = appendString(b, r.job.Unit)
		b = appendBool(b, r.job.Alone)
		b = appendBool(b, r.job.Yield)
	case opPull, opReset:
		b = appendString(b, r.job.Unit)
	case opJoin:
		b = binary.AppendUvarint(b, r.pull)
		b = appendString(b, r.job.Unit)
	case opKill:
		b = appendString(b, r.job.Unit)
		b = binary.AppendVarint(b, int64(r.signal))
		b = appendBool(b, r.all)
	}
	return endFrame(b, at)
}

// errMalformed is the error of a frame that is not one of this protocol.
var errMalformed = errors.New("malformed frame")

func parseRequest(frame string) (request, error) {
	p := parser{rest: frame}
	r := request{op: op(p.byte()), id: p.uint()}
	switch r.op {
	case opUnits:
		r.detail = engine.Detail(p.byte())
		r.names = p.strings()
		p.bad = p.bad || r.detail > engine.Usage
	case opWatch:
		r.names = p.strings()
	case opJob:
		n := int(p.byte())
		if n >= len(jobOps) {
			return request{}, errMalformed
		}
		r.job = engine.Job{Op: jobOps[n], Unit: p.string(), Alone: p.bool(), Yield: p.bool()}
	case opPull, opReset:
		r.job.Unit = p.string()
	case opJoin:
		r.pull = p.uint()
		r.job.Unit = p.string()
	case opKill:
		r.job.Unit = p.string()
		r.signal = int(p.int())
		r.all = p.bool()
	case opReload, opCancel:
	default:
		p.bad = true
	}
	if p.bad || p.rest != "" {
		return request{}, errMalformed
	}
	// It outlives the frame.
	r.job.Unit = strings.Clone(r.job.Unit)
	return r, nil
}

// answer is what a server says.
type answer struct {
	op   op
	id   uint64
	body string
}

func parseAnswer(frame string) (answer, error) {
	p := parser{rest: frame}
	a := answer{op: op(p.byte()), id: p.uint(), body: p.rest}
	if p.bad {
		return answer{}, errMalformed
	}
	return a, nil
}

func appendDone(b []byte, id uint64, err error) []byte {
	b, at := beginFrame(b, opDone, id)
	return endFrame(appendError(b, err), at)
}

// How an error is told.
const (
	toldNil byte = iota
	toldPlain
	toldJob
	toldUnreachable
	toldDenied
)

func appendError(b []byte, err error) []byte {
	var job *engine.JobError
	switch {
	case err == nil:
		return append(b, toldNil)
	case errors.As(err, &job):
		b = appendString(append(b, toldJob), job.Result)
		if job.Cause == nil {
			return appendString(b, "")
		}
		return appendString(b, job.Cause.Error())
	case errors.Is(err, engine.ErrUnreachable):
		b = append(b, toldUnreachable)
	case errors.Is(err, engine.ErrDenied):
		b = append(b, toldDenied)
	default:
		b = append(b, toldPlain)
	}
	return appendString(b, err.Error())
}

// told is an error of the supervisor's.
type told struct {
	text string
	is   error
}

func (e *told) Error() string { return e.text }
func (e *told) Unwrap() error { return e.is }

// failure reads the error of an opDone; job is what was asked for.
func (a answer) failure(job engine.Job) error {
	p := parser{rest: a.body}
	var err error
	switch p.byte() {
	case toldNil:
	case toldPlain:
		err = &told{p.string(), nil}
	case toldUnreachable:
		err = &told{p.string(), engine.ErrUnreachable}
	case toldDenied:
		err = &told{p.string(), engine.ErrDenied}
	case toldJob:
		failed := &engine.JobError{Job: job, Result: p.string()}
		if cause := p.string(); cause != "" {
			failed.Cause = &told{cause, nil}
		}
		err = failed
	default:
		p.bad = true
	}
	if p.bad || a.op != opDone {
		return errMalformed
	}
	return err
}

// beginFrame leaves room for the length, which endFrame fills in.
func beginFrame(b []byte, o op, id uint64) (_ []byte, at int) {
	at = len(b)
	return binary.AppendUvarint(append(b, 0, 0, 0, 0, byte(o)), id), at
}

func endFrame(b []byte, at int) []byte {
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// appendState writes every field: one that is zero is a byte.
func appendState(b []byte, s *engine.UnitState) []byte {
	b = appendString(b, s.Name)
	b = appendString(b, s.Load)
	b = appendString(b, s.Active)
	b = appendString(b, s.Sub)
	b = binary.AppendVarint(b, int64(s.MainPID))
	b = binary.AppendVarint(b, int64(s.Tasks))
	b = appendTime(b, s.Since)
	b = appendTime(b, s.Started)
	b = binary.AppendVarint(b, int64(s.Restarts))
	b = appendString(b, s.Result)
	b = binary.AppendVarint(b, int64(s.Exit.Code))
	b = binary.AppendVarint(b, int64(s.Exit.Signal))
	b = appendTime(b, s.Exit.At)
	b = binary.AppendVarint(b, int64(s.CPU))
	b = binary.AppendVarint(b, s.Memory)
	b = appendTime(b, s.Measured)
	b = appendString(b, s.User)
	b = appendTime(b, s.Next)
	b = appendString(b, s.Fragment)
	b = appendStrings(b, s.DropIns)
	b = appendBool(b, s.Stale)
	b = appendString(b, s.MemoryBy)
	b = binary.AppendVarint(b, int64(s.CPUBefore))
	return appendTime(b, s.MeasuredBefore)
}

func (p *parser) state() engine.UnitState {
	return engine.UnitState{
		Name: p.string(), Load: p.string(), Active: p.string(), Sub: p.string(),
		MainPID: int(p.int()), Tasks: int(p.int()), Since: p.time(), Started: p.time(),
		Restarts: int(p.int()), Result: p.string(),
		Exit: engine.Exit{Code: int(p.int()), Signal: int(p.int()), At: p.time()},
		CPU:  time.Duration(p.int()), Memory: p.int(), Measured: p.time(),
		User: p.string(), Next: p.time(), Fragment: p.string(), DropIns: p.strings(), Stale: p.bool(),
		MemoryBy: p.string(), CPUBefore: time.Duration(p.int()), MeasuredBefore: p.time(),
	}
}

// states reads an opStates.
func (a answer) states() (map[string]engine.UnitState, error) {
	p := parser{rest: a.body}
	n := p.uint()
	if p.bad || a.op != opStates || n > uint64(len(p.rest)) {
		return nil, errMalformed
	}
	states := make(map[string]engine.UnitState, n)
	for range n {
		s := p.state()
		states[s.Name] = s
	}
	if p.bad || p.rest != "" {
		return nil, errMalformed
	}
	return states, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendBool(b []byte, is bool) []byte {
	if is {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendTime writes nanoseconds since 1970, of which 0 is no time at all.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

// parser reads what the append functions wrote. Its strings are parts of the frame. What is
// not there reads as zero, and makes it bad.
type parser struct {
	rest string
	bad  bool
}

func (p *parser) fail() {
	p.bad, p.rest = true, ""
}

func (p *parser) byte() byte {
	if p.rest == "" {
		p.fail()
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

func (p *parser) bool() bool { return p.byte() != 0 }

// uint is binary.Uvarint of a string.
func (p *parser) uint() uint64 {
	var x uint64
	for i := range min(len(p.rest), binary.MaxVarintLen64) {
		b := p.rest[i]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			break
		}
		x |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			p.rest = p.rest[i+1:]
			return x
		}
	}
	p.fail()
	return 0
}

// int undoes binary.AppendVarint.
func (p *parser) int() int64 {
	x := p.uint()
	return int64(x>>1) ^ -int64(x&1)
}

func (p *parser) string() string {
	n := p.uint()
	if n > uint64(len(p.rest)) {
		p.fail()
		return ""
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func (p *parser) strings() []string {
	n := p.uint()
	if n > uint64(len(p.rest)) { // each takes a byte at least
		p.fail()
	}
	if n == 0 || p.bad {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, p.string())
	}
	return list
}

func (p *parser) time() time.Time {
	n := p.int()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// frames reads frames from a connection.
type frames struct {
	r       *bufio.Reader
	longest int
	buf     []byte
}

// keptBuffer is what is kept for the next frames; more is given back.
const keptBuffer = 64 << 10

// next reads a frame without its length. Memory is taken as it comes in, whatever
// length was told.
func (f *frames) next() (string, error) {
	var head [4]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return "", err
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n > int64(f.longest) {
		return "", fmt.Errorf("%w: %d bytes, of %d at most", errMalformed, n, f.longest)
	}
	f.buf = f.buf[:0]
	for len(f.buf) < int(n) {
		have := len(f.buf)
		more := min(int(n)-have, keptBuffer)
		f.buf = slices.Grow(f.buf, more)[:have+more]
		if _, err := io.ReadFull(f.r, f.buf[have:]); err != nil {
			return "", err
		}
	}
	text := string(f.buf)
	if cap(f.buf) > keptBuffer {
		f.buf = nil
	}
	return text, nil
}

// outbox is what is to be written to a connection, by one goroutine. Those who have something
// to say never wait for the peer: the loop is one of them.
type outbox struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	closed  bool
}

func newOutbox() *outbox {
	o := new(outbox)
	o.changed.L = &o.mu
	return o
}

// put adds a frame. What comes after close is dropped.
func (o *outbox) put(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.buf = append(o.buf, frame...)
		o.changed.Broadcast()
	}
}

// full is from how much on one waits who can.
const full = 1 << 20

// room waits until not much is to be written any more, and reports whether anything will.
func (o *outbox) room() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) > full && !o.closed {
		o.changed.Wait()
	}
	return !o.closed
}

// close has run return when all is written.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.changed.Broadcast()
}

// run writes until close, or until it fails.
func (o *outbox) run(w io.Writer) {
	var writing []byte
	for {
		o.mu.Lock()
		for len(o.buf) == 0 && !o.closed {
			o.changed.Wait()
		}
		if len(o.buf) == 0 {
			o.mu.Unlock()
			return
		}
		if cap(writing) > keptBuffer {
			writing = nil
		}
		writing, o.buf = o.buf, writing[:0]
		o.changed.Broadcast()
		o.mu.Unlock()
		if _, err := w.Write(writing); err != nil {
			o.close()
			return
		}
	}
}

// readGreeting reads a line of the beginning: the version, and the rest of the line.
func readGreeting(r *bufio.Reader) (version int, rest string, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, "", err
	}
	word, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
	number, rest, _ := strings.Cut(rest, " ")
	version, err = strconv.Atoi(number)
	if word != greeting || err != nil {
		return 0, "", fmt.Errorf("%q is no greeting of gm's", line)
	}
	return version, rest, nil
}
