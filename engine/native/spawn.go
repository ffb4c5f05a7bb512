package native

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"gm/engine/native/shim"
)

// launch is a process that is about to be made, with all that was resolved for it. What a
// process is made with follows exec_child in systemd's src/core/execute.c.
type launch struct {
	program   string
	argv, env []string
	dir       string
	exec      *execDef
	user      *credential // nil: the supervisor's
	files     []uintptr   // its descriptors from 0 on
	sockets   int         // how many of them are sockets
	group     string      // its control group
}

// credential is who a process is to be. With uid -1 it stays who it is, with a group of its own.
type credential struct {
	uid, gid   int
	groups     []int
	keepGroups bool
}

// Some more exit codes of systemd.exec(5); those of a shim are in package shim.
const (
	exitStdin     = 208
	exitDirectory = 233 // RUNTIME_DIRECTORY
)

func spawnFailure(step string, code int, format string, args ...any) *spawnError {
	return &spawnError{step: step, code: code, err: fmt.Errorf(format, args...)}
}

// spawn makes a process, with outputs and inherited descriptors as given. It returns when the
// program is executed, or with a *spawnError.
func (p *processes) spawn(e effSpawn, files spawnFiles) (proc, error) {
	l, failed := p.newLaunch(&e, files)
	if failed != nil {
		return proc{}, failed
	}
	stdin, stdout, stderr, failed := p.streams(&e)
	if failed != nil {
		return proc{}, failed
	}
	defer func() {
		closeUnless(stdin, p.null)
		closeUnless(stdout, p.null)
		if stderr != stdout {
			closeUnless(stderr, p.null)
		}
	}()
	l.files = append([]uintptr{stdin.Fd(), stdout.Fd(), stderr.Fd()}, files.sockets...)
	l.sockets = len(files.sockets)

	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.familyOf(e.unit)
	p.begin(f, &e)
	l.group = f.group
	pid, failed := p.start(l, e.invocation)
	f.group = l.group // it is "" after the kernel has refused to fork into it
	f.enforced = f.enforced && f.group != ""
	if failed != nil {
		if len(f.roots) == 0 && f.group != "" && removeGroup(f.group) == nil {
			f.group = ""
		}
		return proc{}, failed
	}
	q := proc{PID: pid}
	if s, ok := lookAt(pid); ok {
		q.Start = s.Start
	}
	p.register(&tracked{proc: q, token: e.token, role: e.role, family: f, child: true})
	if e.role == roleMain {
		p.polling.add(p, f)
	}
	return q, nil
}

func closeUnless(f, shared *os.File) {
	if f != shared {
		_ = f.Close()
	}
}

// begin gets a family ready for another process.
func (p *processes) begin(f *family, e *effSpawn) {
	if e.invocation != f.invocation {
		f.invocation = e.invocation
		f.kills, f.unsure, f.wishes, f.outside = false, false, nil, nil
		// With KillMode=process each run may leave one, and nobody waits for its end.
		f.sessions = slices.DeleteFunc(f.sessions, func(id int) bool { return syscall.Kill(-id, 0) == syscall.ESRCH })
		// Each run has a group of its own, to which programs may have been attached: gm
		// share-port. One in which something was left behind stays.
		if f.group != "" && removeGroup(f.group) == nil {
			f.group = ""
		}
	}
	delete(p.awaited, f)
	f.swept = sweeps(e.def)
	f.limit = e.def.service.memoryMax
	f.over = f.over && e.role != roleMain
	if f.group == "" && p.groups.base != "" && !p.groups.refused {
		if dir, enforced, err := p.groups.make(e.def); err == nil {
			f.group, f.enforced, f.oomKills = dir, enforced, 0
			if enforced {
				f.oomKills = oomKills(dir) // of a group that was left
			}
		}
	}
}

// newLaunch resolves what a process is made with, but for its files.
func (p *processes) newLaunch(e *effSpawn, files spawnFiles) (*launch, *spawnError) {
	x := &e.def.service.exec
	l := &launch{exec: x, dir: x.dir}
	who, failed := p.identity(x)
	if failed != nil {
		return nil, failed
	}
	if !e.command.privileged {
		l.user = who.credential
	}
	switch {
	case l.dir == "~", l.dir == "" && p.o.User:
		l.dir = who.home
	case l.dir == "":
		l.dir = "/"
	}
	if failed := makeDirs(x, who); failed != nil {
		return nil, failed
	}
	base := p.baseEnviron(e, who, files)
	env, err := x.environ(base, os.ReadFile)
	if err != nil {
		// systemd has no exit code for it: the unit fails with the result "resources".
		return nil, spawnFailure("ENVIRONMENT", exitResources, "cannot make the environment of %s: %w", e.unit, err)
	}
	nameGm(env)
	l.env = env
	args := e.command.args(lookUp(env))
	if e.command.arg0 && len(args) > 1 {
		l.program, l.argv = args[0], args[1:]
	} else {
		l.program, l.argv = args[0], args
	}
	if l.program, failed = p.findProgram(l.program, x); failed != nil {
		return nil, failed
	}
	return l, nil
}

// nameGm mends what tells an app where gm is, if there is no such file any more: the program
// of this supervisor will do.
func nameGm(env []string) {
	const variable = "GM_PROGRAM="
	for i, pair := range env {
		path, ok := strings.CutPrefix(pair, variable)
		if !ok {
			continue
		}
		if _, err := os.Stat(path); err == nil {
			return
		}
		own, err := os.Executable()
		if err == nil {
			_, err = os.Stat(own)
		}
		if err != nil {
			own = fmt.Sprintf("/proc/%d/exe", os.Getpid()) // as long as this supervisor lives
		}
		env[i] = variable + own
		return
	}
}

// identity is who a process runs as: the environment tells of that even where "+" keeps
// the process the supervisor's own.
type identity struct {
	account
	named      bool // User= says so
	credential *credential
}

// identity resolves User=, Group= and SupplementaryGroups=.
func (p *processes) identity(x *execDef) (identity, *spawnError) {
	var who identity
	own := os.Geteuid()
	if x.user != "" {
		a, ok := p.accounts.user(x.user)
		if !ok {
			return who, spawnFailure("USER", int(shim.User),
				"there is no user %q on this machine: add it, or name another in User=", x.user)
		}
		who.account, who.named = a, true
	} else {
		var ok bool
		if who.account, ok = p.accounts.user(strconv.Itoa(own)); !ok {
			who.account = account{uid: own, gid: os.Getegid(), home: "/", shell: "/bin/sh"}
		}
	}
	if x.user == "" && x.group == "" && len(x.supplementary) == 0 {
		return who, nil
	}
	c := &credential{uid: -1, gid: os.Getegid(), keepGroups: true}
	if x.user != "" {
		c.uid, c.gid = who.uid, who.gid
	}
	if x.group != "" {
		gid, ok := p.accounts.groupID(x.group)
		if !ok {
			return who, noGroup(x.group)
		}
		c.gid = gid
	}
	// As systemd does: root's groups are left as they are.
	if x.user != "" && c.gid != 0 {
		c.groups, c.keepGroups = p.accounts.groupsOf(who.account, c.gid), false
	}
	for _, name := range x.supplementary {
		gid, ok := p.accounts.groupID(name)
		if !ok {
			return who, noGroup(name)
		}
		if !slices.Contains(c.groups, gid) {
			c.groups, c.keepGroups = append(c.groups, gid), false
		}
	}
	// Who is that already needs no privilege to stay so.
	if own != 0 && own == c.uid && c.gid == os.Getegid() && len(x.supplementary) == 0 {
		return who, nil
	}
	who.credential = c
	return who, nil
}

func noGroup(name string) *spawnError {
	return spawnFailure("GROUP", int(shim.Group),
		"there is no group %q on this machine: add it, or name another", name)
}

// makeDirs makes RuntimeDirectory= and its like.
func makeDirs(x *execDef, who identity) *spawnError {
	for _, dir := range x.runtimeDirs {
		if err := os.MkdirAll(dir, os.FileMode(x.directoryMode).Perm()); err != nil {
			return spawnFailure("RUNTIME_DIRECTORY", exitDirectory, "cannot make the unit's directory: %w", err)
		}
		if c := who.credential; c != nil && c.uid >= 0 {
			if err := os.Chown(dir, c.uid, c.gid); err != nil {
				return spawnFailure("RUNTIME_DIRECTORY", exitDirectory,
					"cannot give the unit's directory to its user: %w", err)
			}
		}
	}
	return nil
}

// variables tell a process who it is. Of User= systemd leaves out a home and a shell that
// are none; nobody has neither, whatever passwd(5) says (src/basic/user-util.c).
func (who *identity) variables() []string {
	var list []string
	if !who.named || who.home != "/" && who.home != "" && who.uid != nobody {
		list = append(list, "HOME="+who.home)
	}
	if who.name != "" {
		list = append(list, "USER="+who.name, "LOGNAME="+who.name)
	}
	switch filepath.Base(who.shell) {
	case "nologin", "false", "true":
		if who.named {
			return list
		}
	}
	return append(list, "SHELL="+who.shell)
}

const nobody = 65534

// defaultPath is systemd's PATH where /bin is a directory of its own, too.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// baseEnviron is what a process's environment is before its unit says something:
// systemd.exec(5), ENVIRONMENT VARIABLES IN SPAWNED PROCESSES. The last of a name wins.
//
// SYSTEMD_EXEC_PID, which systemd sets too, holds the number of the process: it is there
// when something else needs a shim.
func (p *processes) baseEnviron(e *effSpawn, who identity, files spawnFiles) []string {
	x := &e.def.service.exec
	path := defaultPath
	if x.searchPath != "" {
		path = x.searchPath
	}
	env := make([]string, 0, 16+len(p.o.Environ)+len(e.env))
	account := who.variables()
	env = append(env, "PATH="+path)
	if !who.named {
		env = append(env, account...) // what the supervisor has is as good
	}
	for _, pair := range p.o.Environ {
		if !who.named || !strings.HasPrefix(pair, "HOME=") && !strings.HasPrefix(pair, "SHELL=") {
			env = append(env, pair)
		}
	}
	if x.searchPath != "" {
		env = append(env, "PATH="+path)
	}
	if who.named {
		env = append(env, account...)
	}
	env = append(env, "INVOCATION_ID="+e.invocation)
	if files.notify != "" {
		env = append(env, "NOTIFY_SOCKET="+files.notify)
	}
	if n := len(files.sockets); n > 0 {
		env = append(env, "LISTEN_FDS="+strconv.Itoa(n), "LISTEN_FDNAMES="+strings.Join(files.names, ":"))
	}
	return append(env, e.env...)
}

// findProgram looks a program up that is named without a path, as systemd does: not by the
// PATH of the process.
func (p *processes) findProgram(name string, x *execDef) (string, *spawnError) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := x.searchPath
	if path == "" {
		path = defaultPath
		if own, ok := lookUp(p.o.Environ)("PATH"); ok {
			path = own
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", spawnFailure("EXEC", int(shim.Exec),
		"cannot find the program %s in %s: install it, or name it with its path", name, path)
}

// plain reports whether fork(2) and execve(2) as Go has them are enough.
func (l *launch) plain() bool {
	x := l.exec
	return l.sockets == 0 && x.root == "" && (x.umask < 0 || x.umask == defaultUmask) && len(x.limits) == 0 &&
		x.nice == nil && x.oomScore == nil && x.ioClass == "" && x.ioPriority == nil && !x.noNewPrivs &&
		x.ignoreSIGPIPE && (l.user == nil || l.user.uid >= 0)
}

// start makes the process. What fails the plain way is done again by a shim, which tells
// the step; Go tells only the error.
func (p *processes) start(l *launch, invocation string) (pid int, failed *spawnError) {
	if l.plain() {
		pid, err := p.fork(l, l.program, l.argv, &syscall.ProcAttr{
			Dir: l.dir, Env: l.env, Files: l.files, Sys: l.attributes(),
		})
		if err == nil {
			return pid, nil
		}
		if p.o.Program == "" {
			return 0, spawnFailure("EXEC", int(shim.Exec), "cannot execute %s in %s: %w", l.program, l.dir, err)
		}
	}
	return p.startByShim(l, invocation)
}

// fork makes a process, in the control group if the kernel can: from 5.7 on.
func (p *processes) fork(l *launch, program string, argv []string, attr *syscall.ProcAttr) (int, error) {
	if l.group != "" {
		fd, err := openGroup(l.group)
		if err == nil {
			var pid int
			intoGroup(attr.Sys, fd)
			pid, err = syscall.ForkExec(program, argv, attr)
			_ = syscall.Close(fd)
			if err == nil {
				return pid, nil
			}
		}
		if !intoNone(err) {
			return 0, err
		}
		outOfGroup(attr.Sys)
	}
	pid, err := syscall.ForkExec(program, argv, attr)
	if err == nil && l.group != "" {
		_ = removeGroup(l.group)
		l.group = ""
		p.groups.refused = true
	}
	return pid, err
}

// intoNone reports whether an error may be that of a fork into a control group: a kernel
// or a sandbox that knows no clone3(2), or a group that takes no process.
func intoNone(err error) bool {
	switch err {
	case syscall.ENOSYS, syscall.EPERM, syscall.EACCES, syscall.EBUSY, syscall.EOPNOTSUPP,
		syscall.ENODEV, syscall.EINVAL:
		return true
	}
	return false
}

// startByShim makes the process by way of the supervisor's own program: see package shim.
func (p *processes) startByShim(l *launch, invocation string) (pid int, failed *spawnError) {
	r, failed := l.request()
	if failed != nil {
		return 0, failed
	}
	if p.o.Program == "" {
		return 0, spawnFailure("EXEC", int(shim.Exec),
			"cannot execute %s: the supervisor does not know its own program", l.program)
	}
	ends, err := socketPair()
	if err != nil {
		return 0, spawnFailure("FORK", exitResources, "cannot make a process: %w", err)
	}
	ours := ends[0]
	defer func() { _ = syscall.Close(ours) }()
	attr := &syscall.ProcAttr{
		Dir: "/", Files: append(slices.Clip(l.files), uintptr(ends[1])), Sys: &syscall.SysProcAttr{Setsid: true},
		// By this the next supervisor finds a process that is a shim still.
		Env: []string{"INVOCATION_ID=" + invocation},
	}
	pid, err = p.fork(l, p.o.Program, []string{gmName, shim.Argument, strconv.Itoa(len(l.files))}, attr)
	_ = syscall.Close(ends[1])
	if err != nil {
		return 0, spawnFailure("FORK", exitResources, "cannot make a process by %s: %w", p.o.Program, err)
	}
	problem, ok := ask(ours, r.Encode())
	if ok && problem == nil {
		return pid, nil
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	if !ok {
		return 0, spawnFailure("EXEC", int(shim.Exec),
			"cannot execute %s: the process that was to become it does not answer", l.program)
	}
	return 0, l.explain(problem)
}

// request tells a shim of the launch.
func (l *launch) request() (*shim.Request, *spawnError) {
	x := l.exec
	r := &shim.Request{
		Program: l.program, Argv: l.argv, Env: l.env, OwnPID: []string{"SYSTEMD_EXEC_PID"},
		Dir: l.dir, DirOptional: x.dirOptional, Root: x.root, Umask: x.umask, Nice: x.nice, OOMScore: x.oomScore,
		IOPriority: -1, NoNewPrivs: x.noNewPrivs, IgnoreSIGPIPE: x.ignoreSIGPIPE,
	}
	if l.sockets > 0 {
		r.OwnPID = append(r.OwnPID, "LISTEN_PID")
	}
	if l.user != nil {
		r.SetUser, r.UID = l.user.uid >= 0, l.user.uid
		r.SetGroup, r.GID, r.Groups, r.KeepGroups = true, l.user.gid, l.user.groups, l.user.keepGroups
	}
	if x.ioClass != "" || x.ioPriority != nil {
		r.IOPriority = ioPriority(x)
	}
	for name, limit := range x.limits {
		n, ok := shim.Resource(name)
		if !ok {
			return nil, spawnFailure("LIMITS", int(shim.Limits),
				"this system has no limit like Limit%s=: remove it", name)
		}
		r.Limits = append(r.Limits, shim.Limit{Resource: n, Soft: limit.soft, Hard: limit.hard})
	}
	return r, nil
}

// ioPriority returns what ioprio_set(2) takes: best-effort and 4 are the defaults.
func ioPriority(x *execDef) int {
	class, level := 2, 4
	switch x.ioClass {
	case "none", "0":
		class = 0
	case "realtime", "1":
		class = 1
	case "idle", "3":
		class = 3
	}
	if x.ioPriority != nil {
		level = *x.ioPriority
	}
	if class == 0 || class == 3 {
		level = 0
	}
	return class<<13 | level
}

// patience is how long a shim may take. It waits for nothing but disks.
const patience = 10 // seconds

// ask sends a shim its request and waits for what comes of it: nil is success. It is not ok
// if the shim says neither.
func ask(socket int, request []byte) (problem *shim.Failure, ok bool) {
	_ = syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: patience})
	_ = syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &syscall.Timeval{Sec: patience})
	for len(request) > 0 {
		n, err := syscall.Write(socket, request)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, false
		}
		request = request[n:]
	}
	_ = syscall.Shutdown(socket, syscall.SHUT_WR)
	var answer [16]byte
	for {
		n, err := syscall.Read(socket, answer[:])
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return nil, false
		case n == 0:
			return nil, true
		}
		f, failed := shim.DecodeFailure(answer[:n])
		return &f, failed
	}
}

// explain says what a shim could not do.
func (l *launch) explain(f *shim.Failure) *spawnError {
	step, what := "EXEC", "execute "+l.program
	switch f.Step {
	case shim.Chdir:
		step, what = "CHDIR", "enter the working directory "+l.dir
	case shim.Nice:
		step, what = "NICE", "set Nice="
	case shim.Limits:
		step, what = "LIMITS", "set the limits"
	case shim.OOMAdjust:
		step, what = "OOM_ADJUST", "set OOMScoreAdjust="
	case shim.Chroot:
		step, what = "CHROOT", "make "+l.exec.root+" the root directory"
	case shim.IOPriority:
		step, what = "IOPRIO", "set IOSchedulingClass="
	case shim.Group:
		step, what = "GROUP", "take on the group "+l.exec.group
	case shim.User:
		step, what = "USER", "become the user "+l.exec.user
	case shim.NoNewPrivs:
		step, what = "NO_NEW_PRIVILEGES", "set NoNewPrivileges="
	}
	err := error(f.Errno)
	if f.Step == shim.Exec && f.Errno == syscall.ENOENT {
		if _, stat := os.Stat(l.program); stat == nil {
			err = fmt.Errorf("%w: what its first line names, or its loader, is not there", f.Errno)
		}
	}
	return spawnFailure(step, int(f.Step), "cannot %s: %w", what, err)
}

// attributes are for the plain way.
func (l *launch) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if c := l.user; c != nil {
		a.Credential = &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.gid), NoSetGroups: c.keepGroups}
		for _, g := range c.groups {
			a.Credential.Groups = append(a.Credential.Groups, uint32(g))
		}
	}
	return a
}
