package enginetest

import (
	"strings"
)

// A name that systemd escapes is one like any other: of instances, too, which are
// the only ones that Also= names.
func oddNames(p *Project) {
	both := []App{app("my web").With(App{"instances": 2}), app("grün.1")}
	p.Declare(both...)
	p.Do("install")
	p.Expect(map[string]string{"my web": "online online", "grün.1": "online"})
	web := p.PIDs("my web")
	if out := p.Do("install"); !strings.Contains(out.Stdout, "Nothing changes") {
		p.t.Errorf("the second install changes something: %v", out)
	}
	p.Same("my web", web)
	p.Do("scale", p.App("my web"), "3")
	p.Expect(map[string]string{"my web": "online online online", "grün.1": "online"})
	p.Do("stop", p.App("my web"))
	p.Do("install")
	p.Expect(map[string]string{"my web": "stopped stopped", "grün.1": "online"})
	p.Do("start", p.App("my web"))
	p.Do("delete", p.App("grün.1"))
	p.Expect(map[string]string{"my web": "online online"})
	// What gm gen wrote is the whole project: who is not in it goes.
	p.Declare(both[0])
	p.Sh("gm gen -o units")
	p.Declare(both...)
	p.Do("install")
	p.Do("install", "units")
	p.Expect(map[string]string{"my web": "online online"})
}

// The last app may leave the declaration before the project is uninstalled.
func uninstallEmpty(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	p.Write(declarationName, `{"apps": []}`)
	p.Do("install")
	p.Do("uninstall")
	if left := p.Sh(`ls -A "$2" "$2"/*.wants | grep -- "$1" || true`, "gm-"+p.name, p.Dirs().Units); left != "" {
		p.t.Errorf("this is left: %s", left)
	}
}

// An instance of which someone has a file of his own is not gm's to start.
func scaleOntoForeign(p *Project) {
	p.Declare(app("one").With(App{"instances": 2}))
	p.Do("install")
	p.Sh(`printf '[Service]\nExecStart=/bin/sleep infinity\n' >"$2/$1@2.service"`, p.App("one"), p.Dirs().Units)
	p.Fails(1, []string{"scale", p.App("one"), "3"}, p.App("one")+"@2.service", "in-the-way")
	p.Expect(map[string]string{"one": "online online"})
	p.byHand(`rm "$u/$1@2.service"`, p.App("one"))
}
