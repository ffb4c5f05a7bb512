package native

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// exits reads exit codes, their names and signals: SuccessExitStatus=.
func (b *builder) exits(at *exitSet, words []string, key string) {
	if len(words) == 0 {
		return
	}
	text := strings.Join(words, " ")
	if shared, ok := b.sets[text]; ok {
		*at = shared
		return
	}
	set := exitSet{codes: map[int]bool{}, signals: map[int]bool{}}
	for _, word := range words {
		if code, ok := exitCode(word); ok {
			set.codes[code] = true
		} else if signal := signalNumber(word); signal != 0 && !isNumber(word) {
			set.signals[signal] = true
		} else {
			b.d.notes = append(b.d.notes, fmt.Sprintf("%s=: %q is no exit code and no signal; it is ignored", key, word))
			continue
		}
	}
	*at = set
	if !b.frozen {
		b.sets[text] = set
	}
}

// exitCode reads an exit code or its name: systemd.exec(5), PROCESS EXIT CODES.
func exitCode(word string) (int, bool) {
	if n, err := strconv.Atoi(word); err == nil {
		return n, n >= 0 && n <= 255
	}
	code, ok := exitNames()[word]
	return code, ok
}

var exitNames = sync.OnceValue(func() map[string]int {
	names := map[string]int{}
	for first, list := range map[int]string{
		0: "SUCCESS FAILURE INVALIDARGUMENT NOTIMPLEMENTED NOPERMISSION NOTINSTALLED NOTCONFIGURED NOTRUNNING",
		64: "USAGE DATAERR NOINPUT NOUSER NOHOST UNAVAILABLE SOFTWARE OSERR OSFILE CANTCREAT IOERR TEMPFAIL " +
			"PROTOCOL NOPERM CONFIG",
		200: "CHDIR NICE FDS EXEC MEMORY LIMITS OOM_ADJUST SIGNAL_MASK STDIN STDOUT CHROOT IOPRIO TIMERSLACK " +
			"SECUREBITS SETSCHEDULER CPUAFFINITY GROUP USER CAPABILITIES CGROUP SETSID CONFIRM STDERR",
		224: "PAM NETWORK NAMESPACE NO_NEW_PRIVILEGES SECCOMP SELINUX_CONTEXT PERSONALITY APPARMOR_PROFILE " +
			"ADDRESS_FAMILIES RUNTIME_DIRECTORY",
		235: "CHOWN SMACK_PROCESS_LABEL KEYRING STATE_DIRECTORY CACHE_DIRECTORY LOGS_DIRECTORY " +
			"CONFIGURATION_DIRECTORY NUMA_POLICY CREDENTIALS",
	} {
		for i, name := range strings.Fields(list) {
			names[name] = first + i
		}
	}
	return names
})

func isNumber(text string) bool { return strings.Trim(text, "0123456789+-") == "" }

// signalNumber reads a signal as systemd does: SIGTERM, TERM, 15, RTMIN+3. 0 is none.
func signalNumber(text string) int {
	name := strings.TrimPrefix(text, "SIG")
	if n, err := strconv.Atoi(name); err == nil {
		if n > 0 && n <= realTimeMax {
			return n
		}
		return 0
	}
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok && runtime.GOOS == "linux" {
		n, err := strconv.Atoi(strings.TrimPrefix(rest, "+"))
		if rest == "" {
			n, err = 0, nil
		}
		if err == nil && n >= 0 && realTimeMin+n <= realTimeMax {
			return realTimeMin + n
		}
		return 0
	}
	return int(unix.SignalNum("SIG" + name))
}

// The real-time signals as the C library counts them, signal(7).
const (
	realTimeMin = 34
	realTimeMax = 64
)
