package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"gm/diag"
	"gm/machine"
	"gm/translate"
	"gm/units"
)

// inputOptions is what every command that compiles takes: which declaration,
// which part of it, and for which machine.
type inputOptions struct {
	args []string // FILE, or nothing

	env     string
	only    []string
	project string
	prefix  string
	runAs   string
	secrets string
	strict  bool

	hostFile string
	root     string
	cpus     int
	systemd  int
	system   bool
	user     bool
	gm       string
	// native says that gm's own supervisor is to run the units, which lacks nothing
	// that is new in systemd.
	native bool
	// envDir is where that keeps environment files.
	envDir string
}

func (o *inputOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.env, "env", "", "choose the env_`NAME` blocks")
	f.StringSliceVar(&o.only, "only", nil, "only these apps: `a,b`")
	f.StringVar(&o.project, "project", "", "`name` of the target and the slice (default: the directory's)")
	f.StringVar(&o.prefix, "prefix", "", "put `text` before the name of every app's units")
	f.StringVar(&o.runAs, "run-as", "", "`user` of the apps without uid, in system scope")
	f.StringVar(&o.secrets, "secrets", "inline", "where the values of env go: `inline|file`; file is environment files of mode 0600")
	f.BoolVar(&o.strict, "strict", false, "treat warnings as errors")

	f.StringVar(&o.hostFile, "host", "", "take the machine's facts from `file`, which gm host wrote")
	f.StringVar(&o.root, "root", "", "the declaration's `directory` on the machine that runs the units")
	f.IntVar(&o.cpus, "cpus", 0, "`number` of CPUs, for instances such as max and -1")
	f.IntVar(&o.systemd, "systemd", 0, "`version` of systemd to write for (245 or later)")
	f.BoolVar(&o.system, "system", false, "units of the system (default for root)")
	f.BoolVar(&o.user, "user", false, "units of a user's own (default for others)")
	f.StringVar(&o.gm, "gm", "", "`path` of gm on that machine, for the units that call it")
	must(cmd.RegisterFlagCompletionFunc("secrets", cobra.FixedCompletions([]string{"inline", "file"}, cobra.ShellCompDirectiveNoFileComp)))
}

// must is for errors that only a mistake in gm's own flags can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// validate refuses flags that cannot mean anything, whatever the declaration.
func (o *inputOptions) validate(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	for _, name := range []string{"env", "only", "host", "project", "run-as", "root", "gm"} {
		// An unset variable of a script must not choose for it.
		if flag := cmd.Flags().Lookup(name); flag != nil && flag.Changed && strings.Trim(flag.Value.String(), "[]") == "" {
			return usage("leave it out, or say which", "--%s is empty", name)
		}
	}
	switch {
	case o.system && o.user:
		return usage("choose one", "--system and --user exclude each other")
	case o.secrets != "inline" && o.secrets != "file":
		return usage("write --secrets=file or --secrets=inline", "--secrets %s: inline or file expected", o.secrets)
	case changed("cpus") && o.cpus < 1:
		return usage("", "--cpus %d: a machine has at least one", o.cpus)
	case changed("systemd") && o.systemd < translate.MinSystemd:
		return tooOld("--systemd", o.systemd)
	case changed("root") && !filepath.IsAbs(o.root):
		return usage("start it with /", "--root %s: an absolute directory expected", o.root)
	case changed("gm") && !filepath.IsAbs(o.gm):
		return usage("start it with /", "--gm %s: an absolute path expected", o.gm)
	case strings.ContainsAny(o.project, "/\x00") || o.project == "." || o.project == "..":
		return usage("choose a name without /", "--project %s: it names files, and cannot be a path", o.project)
	}
	return nil
}

func tooOld(what string, version int) error {
	return usage(fmt.Sprintf("update the machine, or write for %d", translate.MinSystemd),
		"%s %d: gm writes for systemd %d and later", what, version, translate.MinSystemd)
}

// compilation is a declaration and what became of it.
type compilation struct {
	*machine.Declaration
	set  units.Set
	list diag.List // --strict is applied
	host translate.Host
}

// largeText is the size of a declaration from which memory is traded for time.
const largeText = 1 << 20

// compile reads and translates the declaration.
func (c *caller) compile(o *inputOptions) (*compilation, error) {
	d, err := c.declaration(o.args)
	if err != nil {
		return nil, err
	}
	return c.compileDeclaration(o, d, nil)
}

// declaration reads the declaration that the arguments of a command name.
func (c *caller) declaration(args []string) (*machine.Declaration, error) {
	d, err := c.machine().Find(args)
	return d, invalid(err)
}

// invalid makes a failure of an error about a declaration.
func invalid(err error) error {
	var bad *machine.InvalidDeclaration
	if !errors.As(err, &bad) || len(bad.List) != 1 {
		return err
	}
	d := bad.List[0]
	return &failure{status(bad.List), d.Code, d.Cause, d.Remedy}
}

// cannotRead is the failure of a file that cannot be read.
func cannotRead(name string, err error) error { return invalid(machine.CannotRead(name, err)) }

// compileDeclaration translates d. A recorder, if there is one, sees what the
// translation asks of the machine.
func (c *caller) compileDeclaration(o *inputOptions, d *machine.Declaration, r *recorder) (*compilation, error) {
	host, err := c.host(o, d.Dir)
	if err != nil {
		return nil, err
	}
	if r != nil {
		r.attach(&host)
	}
	if len(d.Source.Text) > largeText {
		c.collectLittle()
	}
	set, list := c.machine().Compile(d, host, o.hostFile != "", translate.Options{
		Env:         o.env,
		Only:        o.only,
		Project:     o.project,
		Prefix:      o.prefix,
		RunAs:       o.runAs,
		SecretFiles: o.secrets == "file",
		EnvDir:      o.envDir,
	})
	if o.strict {
		list = list.Strict()
	}
	return &compilation{Declaration: d, set: set, list: list, host: host}, nil
}

// host settles the facts of the machine that will run the units: from --host or
// from this machine, with single flags on top. dir is the declaration's
// directory here.
func (c *caller) host(o *inputOptions, dir string) (translate.Host, error) {
	var h translate.Host
	if o.hostFile != "" {
		var err error
		if h, err = c.readHost(o); err != nil {
			return h, err
		}
	}
	override := func(have *string, flag string) {
		if flag != "" {
			*have = flag
		}
	}
	override(&h.Root, o.root)
	override(&h.Gm, o.gm)
	if o.cpus != 0 {
		h.CPUs = o.cpus
	}
	if o.systemd != 0 {
		h.Systemd = o.systemd
	}
	switch {
	case o.system:
		h.Scope = translate.ScopeSystem
	case o.user:
		h.Scope = translate.ScopeUser
	}
	if o.hostFile != "" {
		return h, nil
	}
	if h.Gm == "" {
		h.Gm = c.ownPath()
	}
	h, err := c.machine().Host(h, o.native, dir)
	return h, invalid(err)
}

// ownPath returns the path by which units call gm.
func (c *caller) ownPath() string {
	self, err := os.Executable()
	if err != nil {
		self = "" // the one that is installed
	}
	return c.machine().Installed(self)
}

// collectLittle is for what is done once and soon: nearly all that is allocated lives until
// gm exits, so collecting often finds little, in a quarter of the time and for no less
// memory. Small work is done before the first collection.
func (c *caller) collectLittle() {
	if c.getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
