package native

import (
	"bufio"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"gm/engine"
)

// streams opens what a process gets as its descriptors 0 to 2.
func (p *processes) streams(e *effSpawn) (stdin, stdout, stderr *os.File, failed *spawnError) {
	stdin, failed = p.input(e)
	if failed != nil {
		return nil, nil, nil, failed
	}
	var err error
	if p.o.Output == nil {
		stdout, stderr, err = p.o.Home.outputs(e.def)
	} else {
		stdout, stderr, err = p.pipedOutputs(e)
	}
	if err == nil {
		return stdin, stdout, stderr, nil
	}
	closeUnless(stdin, p.null)
	if !errors.As(err, &failed) {
		failed = &spawnError{step: "STDOUT", code: exitStdout, err: err}
	}
	return nil, nil, nil, failed
}

// input opens the standard input: StandardInput=.
func (p *processes) input(e *effSpawn) (*os.File, *spawnError) {
	switch in := e.def.service.exec.stdin; in.Kind {
	case "", "null":
		return p.null, nil
	case "file":
		f, err := os.Open(string(in.Path))
		if err != nil {
			return nil, spawnFailure("STDIN", exitStdin, "cannot set up the standard input: %w", err)
		}
		return f, nil
	default:
		return nil, spawnFailure("STDIN", exitStdin,
			"StandardInput=%s is not possible without systemd: write null or file:PATH", in.Kind)
	}
}

// pipedOutputs is Home.outputs with pipes for what would go to the engine's log.
func (p *processes) pipedOutputs(e *effSpawn) (stdout, stderr *os.File, err error) {
	h := p.o.Home
	both, err := h.sinks(e.def)
	if err != nil {
		return nil, nil, err
	}
	open := func(s sink, stream engine.Stream) (*os.File, error) {
		if s.own {
			return p.pipes.open(func(line []byte) { p.o.Output(e.unit, stream, line) })
		}
		return h.open(e.def, s)
	}
	if stdout, err = open(both[0], engine.Stdout); err != nil {
		return nil, nil, &spawnError{step: "STDOUT", code: exitStdout, err: err}
	}
	if !both[0].own && both[1].path == both[0].path {
		return stdout, stdout, nil
	}
	if stderr, err = open(both[1], engine.Stderr); err != nil {
		_ = stdout.Close()
		return nil, nil, &spawnError{step: "STDERR", code: exitStderr, err: err}
	}
	return stdout, stderr, nil
}

// pipes are what processes write to whose lines the supervisor passes on.
type pipes struct {
	mu      sync.Mutex
	readers map[*os.File]bool
	done    sync.WaitGroup
}

// Lines are whole up to longestLine; of a longer one the rest is the next, as journald's
// LineMax= has it.
const longestLine = 64 << 10

// open returns the writing end of a new pipe.
func (s *pipes) open(line func([]byte)) (*os.File, error) {
	var ends [2]int
	if err := pipe2(ends[:]); err != nil {
		return nil, err
	}
	// Programs do not expect that a write may fail because a pipe is full.
	if err := syscall.SetNonblock(ends[1], false); err != nil {
		_, _ = syscall.Close(ends[0]), syscall.Close(ends[1])
		return nil, err
	}
	reader := os.NewFile(uintptr(ends[0]), "output")
	s.mu.Lock()
	if s.readers == nil {
		s.readers = map[*os.File]bool{}
	}
	s.readers[reader] = true
	s.mu.Unlock()
	s.done.Go(func() {
		passOn(reader, line)
		s.mu.Lock()
		delete(s.readers, reader)
		s.mu.Unlock()
		_ = reader.Close()
	})
	return os.NewFile(uintptr(ends[1]), "output"), nil
}

// passOn tells each line that comes out of r, and in the end an unfinished one.
func passOn(r io.Reader, line func([]byte)) {
	lines := bufio.NewReaderSize(r, 4<<10)
	var long []byte
	for {
		part, err := lines.ReadSlice('\n')
		end := len(part) > 0 && part[len(part)-1] == '\n'
		if end {
			part = part[:len(part)-1]
		}
		whole := part
		if len(long) > 0 || !end {
			long = append(long, part...)
			whole = long
		}
		for len(whole) > longestLine {
			line(whole[:longestLine])
			whole = whole[longestLine:]
		}
		switch {
		case end:
			line(whole)
			long = long[:0]
		case err != nil && err != bufio.ErrBufferFull:
			if len(whole) > 0 {
				line(whole)
			}
			return
		default:
			long = append(long[:0], whole...)
		}
	}
}

// drain is how long the last lines may take whose writers run on.
const drain = 100 * time.Millisecond

// lastLines is how long they may take where nobody reads what they are passed on to.
const lastLines = 2 * time.Second

// close waits for the last lines.
func (s *pipes) close() {
	s.mu.Lock()
	for r := range s.readers {
		_ = r.SetReadDeadline(time.Now().Add(drain))
	}
	s.mu.Unlock()
	passed := make(chan struct{})
	go func() {
		s.done.Wait()
		close(passed)
	}()
	select {
	case <-passed:
	case <-time.After(lastLines):
	}
}
