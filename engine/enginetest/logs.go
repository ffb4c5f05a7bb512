package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

func logsOfEngine(p *Project) {
	p.Declare(do("one", `echo first; echo "sécond \"line\""`), do("two", "echo from two"))
	p.Do("install")
	p.Await("the lines to arrive", func() bool {
		out := p.Do("logs", p.App("one"), p.App("two"))
		return strings.Contains(out.Stdout, "first") && strings.Contains(out.Stdout, `sécond "line"`) && strings.Contains(out.Stdout, "from two")
	})
	if out := p.Do("logs", p.App("one"), "--raw"); out.Stdout != "first\nsécond \"line\"\n" {
		p.t.Errorf("raw: %v", out)
	}
	if out := p.Do("logs", p.App("one"), "--raw", "-n", "1"); out.Stdout != "sécond \"line\"\n" {
		p.t.Errorf("-n 1: %v", out)
	}
	for _, line := range lines(p.Do("logs", p.App("two"), "--json").Stdout) {
		var entry struct{ App, Message string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.App != p.App("two") {
			p.t.Errorf("--json: %s: %v", line, err)
		}
	}
	if out := p.Do("logs", p.App("two")); strings.Contains(out.Stdout, "first") {
		p.t.Errorf("the lines of another app: %v", out)
	}
}

func logsOfFiles(p *Project) {
	p.Declare(do("one", "echo out $n; echo err $n >&2").With(App{"instances": 2, "out_file": "logs/out.log", "error_file": "logs/err.log"}))
	p.Do("install")
	p.Await("the files to be written", func() bool {
		return p.Read("logs/out-1.log") == "out 1\n" && p.Read("logs/err-0.log") == "err 0\n"
	})
	out := p.Do("logs", p.App("one"), "--raw")
	for _, want := range []string{"out 0\n", "out 1\n", "err 0\n", "err 1\n"} {
		if !strings.Contains(out.Stdout, want) {
			p.t.Errorf("%q is missing: %v", want, out)
		}
	}
	if out := p.Do("logs", p.App("one"), "--raw", "--err"); strings.Contains(out.Stdout, "out") {
		p.t.Errorf("--err: %v", out)
	}
	if out := p.Do("logs", p.App("one@1"), "--raw", "--out"); out.Stdout != "out 1\n" {
		p.t.Errorf("one instance: %v", out)
	}
}

// Lines come as they are written, through a file that is renamed and made anew.
func logsFollow(p *Project) {
	p.Declare(do("one", `i=0; while :; do echo line $((i+=1)); sleep 0.05; done & while :; do read -r <go; done`).With(App{
		"out_file": "out.log", "error_file": "NULL"}), do("two", `i=0; while :; do echo tick $((i+=1)); sleep 0.2; done`))
	p.Sh("mkfifo go; chmod 666 go")
	p.Do("install")
	ctx, cancel := context.WithTimeout(p.t.Context(), deadline)
	defer cancel()
	p.Await("some lines", func() bool { return strings.Count(p.Read("out.log"), "\n") > 20 })
	out := p.Machine.Run(ctx, p.dir, "timeout", "3", "gm", "logs", "-f", "-n", "5", "--raw", p.App("one"), p.App("two"))
	var last int
	for _, line := range lines(out.Stdout) {
		var n int
		if _, err := fmt.Sscanf(line, "line %d", &n); err != nil {
			continue
		}
		if last != 0 && n != last+1 {
			p.t.Errorf("line %d follows line %d", n, last)
		}
		last = n
	}
	if last < 25+10 || !strings.Contains(out.Stdout, "tick") {
		p.t.Errorf("the last line is %d: %v", last, out)
	}
}

// As much as an app can write in a moment is kept: journald's rate limit does not bite.
func burst(p *Project) {
	const n = 100_000
	p.Declare(do("one", fmt.Sprintf("seq -f 'line %%.0f of the burst' 1 %d; echo done >&2", n)))
	p.Do("install")
	start := time.Now()
	p.Await("the last line", func() bool {
		return strings.Contains(p.Do("logs", p.App("one"), "--raw", "-n", "5").Stdout, fmt.Sprintf("line %d of", n))
	})
	p.t.Logf("the burst was there after %v", time.Since(start).Round(time.Millisecond))
	got := lines(p.Do("logs", p.App("one"), "--raw", "-n", fmt.Sprint(2*n)).Stdout)
	next := 1
	for _, line := range got {
		if line == fmt.Sprintf("line %d of the burst", next) {
			next++
		}
	}
	if next != n+1 {
		p.t.Errorf("of %d lines, line %d is missing; %d were printed", n, next, len(got))
	}
}
