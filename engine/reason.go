package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// hangs is a job that was not finished within the deadline.
type hangs struct {
	Job
	after time.Duration
}

func (e *hangs) Error() string {
	return fmt.Sprintf("its %s hangs: the job was not finished after %s", e.Op, e.after)
}

// reason says in words why a unit is not up: err is what its job or the wait for
// it gave, state what the unit is in, and took how long the job lasted.
func reason(err error, state UnitState, notifies bool, took time.Duration) error {
	var hang *hangs
	if errors.As(err, &hang) {
		return err
	}
	var job *JobError
	if errors.As(err, &job) {
		switch {
		case job.Cause != nil:
			return err
		case job.Result == "dependency":
			return &explained{"a unit that it needs did not start", err}
		case job.Result == "canceled":
			return &explained{fmt.Sprintf("another job took the place of its %s", job.Op), err}
		case job.Result == "timeout" && (state.Result == "" || state.Result == "success"):
			return &explained{fmt.Sprintf("its %s was not finished within %s", job.Op, span(took)), err}
		}
	} else if stay := (*notUp)(nil); !errors.As(err, &stay) && err != nil {
		return err
	}
	text := ending(state, notifies, took)
	if text == "" {
		if err != nil {
			return err
		}
		return errors.New("it is " + strings.TrimSpace(state.Active+" "+state.Sub))
	}
	if state.Active == "failed" && state.Restarts > 0 && state.Result != "start-limit-hit" {
		text += fmt.Sprintf(", and was given up after %d starts", state.Restarts+1)
	}
	return &explained{text, err}
}

// explained says in words what an error comes to.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// ending says how a unit's process ended, "" if nothing tells.
func ending(s UnitState, notifies bool, took time.Duration) string {
	after := ""
	if lived := s.Exit.At.Sub(s.Started); !s.Exit.At.IsZero() && !s.Started.IsZero() && lived >= 0 {
		after = fmt.Sprintf(" after %.1f s", lived.Seconds())
	}
	switch s.Result {
	case "oom-kill":
		return "killed for using more memory than MemoryMax= allows" + after
	case "start-limit-hit":
		if s.Restarts > 0 {
			return fmt.Sprintf("gave up after %d starts", s.Restarts+1)
		}
		return "was started too often in a short time"
	case "timeout":
		if notifies {
			return "not ready within " + span(took)
		}
		return "its start took too long, and it was killed"
	case "protocol":
		return "ended before it said that it was ready" + after
	case "watchdog":
		return "killed because it did not answer its watchdog" + after
	case "exec-condition":
		return "its ExecCondition= said no"
	case "resources":
		return "could not be set up: a file or another thing that it needs is missing"
	}
	switch {
	case s.Exit.Signal != 0 && s.Result == "core-dump":
		return "crashed by " + signalName(s.Exit.Signal) + after
	case s.Exit.Signal != 0:
		return "killed by " + signalName(s.Exit.Signal) + after
	case s.Exit.Code >= 200 && exitReasons[s.Exit.Code] != "":
		return fmt.Sprintf("%s (exit code %d)", exitReasons[s.Exit.Code], s.Exit.Code)
	case !s.Exit.At.IsZero():
		return fmt.Sprintf("exited with code %d%s", s.Exit.Code, after)
	case s.Restarts > 0 && s.Active != "failed":
		// The process that ended is gone from the state, a new one is in its place.
		return "ended and was started again" + map[bool]string{true: fmt.Sprintf(", %d times", s.Restarts)}[s.Restarts > 1]
	case s.Load == "bad-setting", s.Load == "error", s.Load == "not-found", s.Load == "masked":
		return "its unit cannot be loaded (" + s.Load + ")"
	case s.Result != "" && s.Result != "success":
		return "failed (" + s.Result + ")"
	}
	return ""
}

// exitReasons are what systemd could not do before it ran the program:
// systemd.exec(5), PROCESS EXIT CODES.
var exitReasons = map[int]string{
	200: "its working directory cannot be entered",
	202: "its file descriptors cannot be set up",
	203: "its program cannot be run",
	205: "its resource limits cannot be set",
	208: "its standard input cannot be opened",
	209: "its standard output cannot be opened",
	210: "its root directory cannot be entered",
	213: "its CPU affinity cannot be set",
	214: "its scheduling policy cannot be set",
	216: "its group does not exist or cannot be taken",
	217: "its user does not exist or cannot be taken",
	218: "its capabilities cannot be set",
	219: "its control group cannot be set up",
	222: "its standard error cannot be opened",
	224: "its PAM session cannot be opened",
	225: "its network cannot be set up",
	226: "its file system namespace cannot be set up",
	228: "its system call filter cannot be set",
	233: "its runtime directory cannot be set up",
	238: "its state directory cannot be set up",
	239: "its cache directory cannot be set up",
	240: "its logs directory cannot be set up",
	241: "its configuration directory cannot be set up",
	243: "its credentials cannot be set up",
}

// signalName returns "SIGKILL" for 9.
func signalName(number int) string {
	names := map[syscall.Signal]string{
		syscall.SIGHUP: "SIGHUP", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT", syscall.SIGILL: "SIGILL",
		syscall.SIGTRAP: "SIGTRAP", syscall.SIGABRT: "SIGABRT", syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE",
		syscall.SIGKILL: "SIGKILL", syscall.SIGUSR1: "SIGUSR1", syscall.SIGSEGV: "SIGSEGV", syscall.SIGUSR2: "SIGUSR2",
		syscall.SIGPIPE: "SIGPIPE", syscall.SIGALRM: "SIGALRM", syscall.SIGTERM: "SIGTERM", syscall.SIGXCPU: "SIGXCPU",
		syscall.SIGXFSZ: "SIGXFSZ", syscall.SIGSYS: "SIGSYS",
	}
	if name := names[syscall.Signal(number)]; name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", number)
}

// span writes a time that was measured: "3s", "0.2s".
func span(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// isCancel reports whether err is only that the work was called off.
func isCancel(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Cause(ctx)))
}
