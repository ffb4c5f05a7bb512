// Package shim turns a process that the supervisor has just made into the program of a
// unit: it sets what Go's syscall.ForkExec cannot set between fork(2) and execve(2), and
// executes the program in the same process, so that variables can hold its own number.
//
// The supervisor executes gm with Argument for it. A Request comes in by one end of a
// socket; a Failure goes out by the same, which closes when the program is executed. The
// package imports next to nothing, so that it runs before the rest of gm is initialised.
package shim

import (
	"strconv"
	"syscall"
)

// Argument is the first argument of gm as a shim; the second is the number of its socket.
const Argument = "execute-unit"

// Request is what is to become of the process. Its session, its control group and its open
// files are the caller's work.
type Request struct {
	Program string
	Argv    []string
	Env     []string
	// OwnPID are variables that get the number of the process: LISTEN_PID.
	OwnPID []string

	Dir         string
	DirOptional bool // "/" where Dir cannot be entered
	Root        string
	Umask       int // -1: as it is
	Nice        *int
	OOMScore    *int
	IOPriority  int // of ioprio_set(2), -1: as it is
	NoNewPrivs  bool
	// IgnoreSIGPIPE has the program begin with that signal ignored, as systemd does.
	IgnoreSIGPIPE bool
	Limits        []Limit

	// SetUser and SetGroup say that UID, and GID with Groups, are to be taken on;
	// KeepGroups that Groups are not.
	SetUser, SetGroup, KeepGroups bool
	UID, GID                      int
	Groups                        []int
}

// Limit is one of setrlimit(2).
type Limit struct {
	Resource   int
	Soft, Hard uint64
}

// Step is what a shim could not do, by the exit codes of systemd.exec(5).
type Step int

const (
	Chdir      Step = 200
	Nice       Step = 201
	Exec       Step = 203
	Limits     Step = 205
	OOMAdjust  Step = 206
	Chroot     Step = 210
	IOPriority Step = 211
	Group      Step = 216
	User       Step = 217
	NoNewPrivs Step = 227
)

// Failure is what a shim says that has not executed the program.
type Failure struct {
	Step  Step
	Errno syscall.Errno
}

// Encode returns the bytes that a shim reads: strings that end in a zero byte, as none of
// those that the kernel takes may hold one. The first is the length of the rest.
func (r *Request) Encode() []byte {
	size := 512
	for _, list := range [2][]string{r.Argv, r.Env} {
		for _, s := range list {
			size += len(s) + 1
		}
	}
	b := make([]byte, 0, size)
	text := func(s string) { b = append(append(b, s...), 0) }
	number := func(n int) { b = append(strconv.AppendInt(b, int64(n), 10), 0) }
	flag := func(is bool) {
		if is {
			number(1)
		} else {
			number(0)
		}
	}
	optional := func(n *int) {
		flag(n != nil)
		if n != nil {
			number(*n)
		}
	}
	list := func(all []string) {
		number(len(all))
		for _, s := range all {
			text(s)
		}
	}
	text(r.Program)
	list(r.Argv)
	list(r.Env)
	list(r.OwnPID)
	text(r.Dir)
	flag(r.DirOptional)
	text(r.Root)
	number(r.Umask)
	optional(r.Nice)
	optional(r.OOMScore)
	number(r.IOPriority)
	flag(r.NoNewPrivs)
	flag(r.IgnoreSIGPIPE)
	number(len(r.Limits))
	for _, l := range r.Limits {
		number(l.Resource)
		text(strconv.FormatUint(l.Soft, 10))
		text(strconv.FormatUint(l.Hard, 10))
	}
	flag(r.SetUser)
	flag(r.SetGroup)
	flag(r.KeepGroups)
	number(r.UID)
	number(r.GID)
	number(len(r.Groups))
	for _, g := range r.Groups {
		number(g)
	}
	return append(append(strconv.AppendInt(nil, int64(len(b)), 10), 0), b...)
}

// Decode is the reverse of Encode. Bytes that are not all there are no request: the
// supervisor has died while it wrote them.
func Decode(b []byte) (*Request, bool) {
	d := decoder{rest: b, ok: true}
	if d.number() != len(d.rest) || !d.ok {
		return nil, false
	}
	r := &Request{}
	r.Program = d.text()
	r.Argv, r.Env, r.OwnPID = d.list(), d.list(), d.list()
	r.Dir, r.DirOptional = d.text(), d.flag()
	r.Root = d.text()
	r.Umask = d.number()
	r.Nice, r.OOMScore = d.optional(), d.optional()
	r.IOPriority = d.number()
	r.NoNewPrivs, r.IgnoreSIGPIPE = d.flag(), d.flag()
	for range d.count() {
		r.Limits = append(r.Limits, Limit{d.number(), d.unsigned(), d.unsigned()})
	}
	r.SetUser, r.SetGroup, r.KeepGroups = d.flag(), d.flag(), d.flag()
	r.UID, r.GID = d.number(), d.number()
	for range d.count() {
		r.Groups = append(r.Groups, d.number())
	}
	return r, d.ok && len(d.rest) == 0
}

type decoder struct {
	rest []byte
	ok   bool
}

func (d *decoder) text() string {
	for i, c := range d.rest {
		if c == 0 {
			s := string(d.rest[:i])
			d.rest = d.rest[i+1:]
			return s
		}
	}
	d.rest, d.ok = nil, false
	return ""
}

func (d *decoder) number() int {
	n, err := strconv.Atoi(d.text())
	d.ok = d.ok && err == nil
	return n
}

// count reads how many elements follow, none of which is shorter than its zero byte.
func (d *decoder) count() int {
	n := d.number()
	if n < 0 || n > len(d.rest) {
		d.ok = false
		return 0
	}
	return n
}

func (d *decoder) unsigned() uint64 {
	n, err := strconv.ParseUint(d.text(), 10, 64)
	d.ok = d.ok && err == nil
	return n
}

func (d *decoder) flag() bool { return d.number() == 1 }

func (d *decoder) optional() *int {
	if !d.flag() {
		return nil
	}
	n := d.number()
	return &n
}

func (d *decoder) list() []string {
	n := d.count()
	all := make([]string, 0, n)
	for range n {
		all = append(all, d.text())
	}
	return all
}

// Run is a shim's whole life. It returns only if it failed, with the exit status.
func Run(socket string) int {
	fd, err := strconv.Atoi(socket)
	if err != nil {
		return int(Exec)
	}
	syscall.CloseOnExec(fd)
	r, ok := Decode(readAll(fd))
	if !ok {
		return int(Exec)
	}
	f := r.execute()
	answer := f.encode()
	_, _ = syscall.Write(fd, answer[:])
	return int(f.Step)
}

// failureSize is the length of an encoded Failure.
const failureSize = 4

func (f Failure) encode() [failureSize]byte {
	return [failureSize]byte{byte(f.Step), byte(f.Step >> 8), byte(f.Errno), byte(f.Errno >> 8)}
}

// DecodeFailure reads what a shim answered. Nothing says that the program is executed.
func DecodeFailure(b []byte) (f Failure, failed bool) {
	if len(b) < failureSize {
		return Failure{}, false
	}
	return Failure{Step(b[0]) | Step(b[1])<<8, syscall.Errno(b[2]) | syscall.Errno(b[3])<<8}, true
}

func readAll(fd int) []byte {
	b := make([]byte, 0, 16<<10)
	for {
		n, err := syscall.Read(fd, b[len(b):cap(b)])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return b
		}
		b = b[:len(b)+n]
		if len(b) == cap(b) {
			b = append(make([]byte, 0, 4*cap(b)), b...)
		}
	}
}

// execute does all that the request asks for, in systemd's order (exec_child in its
// src/core/execute.c).
func (r *Request) execute() Failure {
	if f := r.prepare(); f != nil {
		return *f
	}
	env := r.Env
	pid := strconv.Itoa(syscall.Getpid())
	for _, name := range r.OwnPID {
		env = append(env, name+"="+pid)
	}
	return Failure{Exec, errnoOf(syscall.Exec(r.Program, r.Argv, env))}
}

func (r *Request) prepare() *Failure {
	if r.OOMScore != nil {
		if err := setOOMScore(*r.OOMScore); err != nil {
			return fail(OOMAdjust, err)
		}
	}
	if r.Nice != nil {
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, *r.Nice); err != nil {
			return fail(Nice, err)
		}
	}
	if r.IOPriority >= 0 {
		if err := setIOPriority(r.IOPriority); err != nil {
			return fail(IOPriority, err)
		}
	}
	if r.Umask >= 0 {
		syscall.Umask(r.Umask)
	}
	ignoreSIGPIPE(r.IgnoreSIGPIPE)
	for _, l := range r.Limits {
		if err := setLimit(l); err != nil {
			return fail(Limits, err)
		}
	}
	if r.Root != "" {
		if err := syscall.Chroot(r.Root); err != nil {
			return fail(Chroot, err)
		}
		if err := syscall.Chdir("/"); err != nil {
			return fail(Chroot, err)
		}
	}
	if r.SetGroup {
		if !r.KeepGroups {
			if err := syscall.Setgroups(r.Groups); err != nil {
				return fail(Group, err)
			}
		}
		if err := syscall.Setgid(r.GID); err != nil {
			return fail(Group, err)
		}
	}
	if r.SetUser {
		if err := syscall.Setuid(r.UID); err != nil {
			return fail(User, err)
		}
	}
	if r.Dir != "" {
		err := syscall.Chdir(r.Dir)
		if err != nil && r.DirOptional {
			err = syscall.Chdir("/")
		}
		if err != nil {
			return fail(Chdir, err)
		}
	}
	if r.NoNewPrivs {
		if err := setNoNewPrivs(); err != nil {
			return fail(NoNewPrivs, err)
		}
	}
	return nil
}

// setLimit comes as near to a limit as the caller may: without privileges that is the hard
// limit that is there, with which systemd is content too.
func setLimit(l Limit) error {
	want := newRlimit(l.Soft, l.Hard)
	err := syscall.Setrlimit(l.Resource, &want)
	if err != syscall.EPERM {
		return err
	}
	var have syscall.Rlimit
	if err := syscall.Getrlimit(l.Resource, &have); err != nil {
		return err
	}
	want.Max = min(want.Max, have.Max)
	want.Cur = min(want.Cur, want.Max)
	return syscall.Setrlimit(l.Resource, &want)
}

// newRlimit makes the platform's type, whose largest number is infinity.
func newRlimit(soft, hard uint64) syscall.Rlimit {
	return syscall.Rlimit{Cur: rlim(soft), Max: rlim(hard)}
}

func fail(s Step, err error) *Failure { return &Failure{s, errnoOf(err)} }

func errnoOf(err error) syscall.Errno {
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	return syscall.EINVAL // a string with a zero byte
}
