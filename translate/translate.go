// Package translate is PM2's language: it reads declarations (processes.json,
// ecosystem.config.js, YAML, dump.pm2) and lowers them to systemd units.
//
//	text -> parse -> document -> resolve -> []app -> lower -> units.Set
//
// It is a pure function of the text and the Options: no clock, no environment,
// no disk but through Options. The table of PM2's keys is in fields.go; the
// docs, the JSON Schema and `gm explain` are derived from it.
package translate

import (
	"gm/diag"
	"gm/units"
)

// Options is everything beside the text that a translation depends on.
type Options struct {
	// Env chooses the env_NAME blocks that go on top of env.
	Env string
	// Only keeps the apps of these names; nil keeps all.
	Only []string
	// Project names the target and the slice; "" is the name of Host.Root.
	Project string
	// Prefix is prepended to the name of every app's units.
	Prefix string
	// RunAs is the user of apps without uid, in system scope; "" is root.
	RunAs string
	// SecretFiles moves the values of env into environment files.
	SecretFiles bool
	// EnvDir holds the environment files, each in a directory of its project; "" is
	// /etc/gm, or .config/gm of the home in user scope.
	EnvDir string
	// Caller is the directory gm was called in, where PM2 would resolve
	// relative paths; "" is the declaration's own.
	Caller string
	// Host is the machine that will run the units.
	Host Host
	// Outside is what a JavaScript declaration may reach.
	Outside Outside
}

// Compile translates one declaration. Whatever was wrong is in the list, in
// the order of the text; with errors in it the set is incomplete.
func Compile(src *diag.Source, o Options) (units.Set, diag.List) {
	m := &messages{}
	var set units.Set
	if doc := parse(src, o.Outside, m); doc != nil {
		p := resolve(doc, src, &o, m)
		set = lower(p, m)
		m.list = append(m.list, set.Check(o.Host.Systemd)...)
	}
	m.list.Sort()
	return set, m.list
}
