package enginetest

import (
	"context"
	"strings"
)

// Instances and apps that are installed during gm logs -f are followed, too.
func logsFollowNew(p *Project) {
	const greet = "while :; do echo hello from $me $n; sleep 0.2; done &"
	one := do("one", greet).With(App{"instances": 2})
	p.Declare(one)
	p.Do("install")
	ctx, cancel := context.WithTimeout(p.t.Context(), deadline)
	defer cancel()
	done := make(chan Output, 1)
	go func() {
		done <- p.Machine.Run(ctx, p.dir, "bash", "-c", `timeout 50 gm logs -f -n 0 --raw "$1" >seen`, "bash", "/^"+p.name+"-/")
	}()
	seen := func(line string) func() bool {
		return func() bool { return strings.Contains(p.Read("seen"), line+"\n") }
	}
	p.Await("gm logs to run", seen("hello from one 0"))
	p.Do("scale", p.App("one"), "3")
	p.Await("the third instance", seen("hello from one 2"))
	p.Declare(one.With(App{"instances": 3}), do("two", greet).With(App{"out_file": "two.log", "error_file": "two.log"}))
	p.Do("install")
	p.Await("the new app", seen("hello from two 0"))
	cancel()
	<-done
}

// A full disk behind standard output is no success.
func unwritable(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	for _, args := range []string{"list", "jlist", "pid", "logs", "stop " + p.App("one"), "start " + p.App("one"), "restart " + p.App("one")} {
		out := p.Machine.Run(p.t.Context(), p.dir, "bash", "-c", "gm "+args+" >/dev/full")
		if out.Code != 1 || !strings.Contains(out.Stderr, "no space left") {
			p.t.Errorf("gm %s: %v", args, out)
		}
	}
	p.Expect(map[string]string{"one": "online"})
}

// What people who know PM2 try is answered with what to write instead.
func mistakes(p *Project) {
	p.Declare(app("one"), app("two").With(App{"instances": 2}))
	p.Do("install", "--secrets", "file")
	p.Fails(3, []string{"list", "--watch", "5"}, "write --watch=5")
	p.Fails(3, []string{"stop", "0"}, "apps have names and no numbers")
	p.Fails(3, []string{"stop", ""}, `there is no app ""`)
	p.Fails(2, []string{"scale", p.App("two"), "many"}, `"many" is no number of instances`)
	p.Fails(2, []string{"scale", p.App("two"), "99999"}, "at most 1000")
	p.Fails(2, []string{"lst", "-a"}, "gm list")
	if out := p.Do("env", p.App("two")); !strings.Contains(out.Stderr, "gm env "+p.App("two@1")) {
		p.t.Errorf("of several instances: %v", out)
	}
	p.Expect(map[string]string{"one": "online", "two": "online online"})
}
