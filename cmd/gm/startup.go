package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gm/engine/native"
	"gm/machine"
)

type startupOptions struct {
	engineOptions
	install bool
}

func newStartupCmd(c *caller) *cobra.Command {
	o := &startupOptions{}
	cmd := &cobra.Command{
		Use:   "startup [" + strings.Join(initNames(), "|") + "]",
		Short: "Have gm's own supervisor started at boot",
		Long: `Startup prints what makes the init system of this machine start gm's supervisor at
boot, and again should it die, as a script to look at and to run as root. With
--install it does that itself.

Without an argument it finds out which init system that is. Under systemd nothing
is needed: what gm installs there starts at boot by itself. With --engine native,
for who runs the apps by gm's own supervisor all the same, it is a unit.

As an ordinary user it is for that user's own apps.`,
		Example: "  gm startup\n  sudo gm startup --install\n  gm startup openrc | sudo sh",
		Args:    arguments(0, 1),
		RunE:    func(_ *cobra.Command, args []string) error { return c.startup(o, args) },
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&o.install, "install", false, "do it, in place of printing it")
	cmd.ValidArgsFunction = cobra.FixedCompletions(initNames(), cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

func newUnstartupCmd(c *caller) *cobra.Command {
	o := &startupOptions{}
	cmd := &cobra.Command{
		Use:   "unstartup [" + strings.Join(initNames(), "|") + "]",
		Short: "Take back what gm startup did",
		Long: `Unstartup removes what gm startup --install, or its script, made. The supervisor
that the init system has started ends, with its apps; gm start starts them again.`,
		Args: arguments(0, 1),
		RunE: func(_ *cobra.Command, args []string) error { return c.unstartup(o, args) },
	}
	o.addFlags(cmd)
	cmd.ValidArgsFunction = cobra.FixedCompletions(initNames(), cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

// initSystem is what starts programs at boot.
type initSystem struct {
	name string
	// runs reports whether it runs the machine whose files are below root.
	runs func(root string) bool
	// private says that a user's own supervisor is the user's to install.
	private bool
	// file is what starts the supervisor, and mode its permissions.
	file func(b *boot) (path, text string, mode os.FileMode)
	// enable and disable are the commands after the file was written, and before
	// it is removed.
	enable, disable func(b *boot) [][]string
}

// boot is what is to be started.
type boot struct {
	gm         string // the program
	home       native.Home
	givenHome  bool // $GM_HOME is to be set
	userScope  bool
	user, dir  string // whose supervisor, and the home directory
	uid        string
	configHome string // $XDG_CONFIG_HOME
	services   string // runit's directory of what runs
}

// writtenBy marks files that unstartup may remove.
const writtenBy = "Written by gm startup; gm unstartup removes it."

var initSystems = []initSystem{
	{
		name: "systemd", runs: func(root string) bool { return exists(root + "/run/systemd/system") }, private: true,
		file: func(b *boot) (string, string, os.FileMode) { return b.unitPath(), b.unit(), 0o644 },
		enable: func(b *boot) [][]string {
			return [][]string{b.systemctl("daemon-reload"), b.systemctl("enable", "--now", supervisorUnit)}
		},
		disable: func(b *boot) [][]string { return [][]string{b.systemctl("disable", "--now", supervisorUnit)} },
	},
	{
		name: "launchd", runs: func(string) bool { return runtime.GOOS == "darwin" }, private: true,
		file: func(b *boot) (string, string, os.FileMode) { return b.plistPath(), b.plist(), 0o644 },
		enable: func(b *boot) [][]string {
			return [][]string{{"launchctl", "bootstrap", b.domain(), b.plistPath()}}
		},
		disable: func(b *boot) [][]string { return [][]string{{"launchctl", "bootout", b.domain() + "/" + launchLabel}} },
	},
	{
		name: "openrc", runs: func(root string) bool { return exists(root + "/run/openrc") },
		file: func(b *boot) (string, string, os.FileMode) { return "/etc/init.d/" + b.service(), b.openrc(), 0o755 },
		enable: func(b *boot) [][]string {
			return [][]string{{"rc-update", "add", b.service(), "default"}, {"rc-service", b.service(), "start"}}
		},
		disable: func(b *boot) [][]string {
			return [][]string{{"rc-service", b.service(), "stop"}, {"rc-update", "del", b.service(), "default"}}
		},
	},
	{
		name: "runit", runs: func(root string) bool {
			comm, err := os.ReadFile(root + "/proc/1/comm")
			return err == nil && strings.HasPrefix(string(comm), "runit")
		},
		file: func(b *boot) (string, string, os.FileMode) {
			return "/etc/sv/" + b.service() + "/run", b.runit(), 0o755
		},
		enable: func(b *boot) [][]string {
			return [][]string{{"ln", "-s", "/etc/sv/" + b.service(), b.services + "/"}}
		},
		disable: func(b *boot) [][]string {
			return [][]string{{"sv", "-w", "60", "down", b.service()}, {"rm", "-f", b.services + "/" + b.service()}}
		},
	},
}

func initNames() []string {
	names := make([]string, len(initSystems))
	for i := range initSystems {
		names[i] = initSystems[i].name
	}
	return names
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// initOf returns the init system of that name, or the one that runs the machine
// whose files are below root.
func initOf(root string, args []string) (*initSystem, error) {
	if len(args) > 0 {
		i := slices.IndexFunc(initSystems, func(s initSystem) bool { return s.name == args[0] })
		if i < 0 {
			return nil, usage("write one of "+strings.Join(initNames(), ", ")+", or have whatever starts your machine run gm supervise",
				"%s: gm does not know this init system", args[0])
		}
		return &initSystems[i], nil
	}
	for i := range initSystems {
		if initSystems[i].runs(root) {
			return &initSystems[i], nil
		}
	}
	return nil, &failure{statusFailed, "no-init", "no init system that gm knows runs this machine",
		"in a container make gm run its command; else have whatever starts your machine run gm supervise, such as cron: @reboot gm supervise"}
}

// bootOf settles what is to be started for this caller.
func (c *caller) bootOf(o *startupOptions) (*boot, error) {
	userScope, err := o.scope()
	if err != nil {
		return nil, err
	}
	home, err := c.home(userScope)
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, &failure{statusFailed, "failed", fmt.Sprintf("cannot tell who you are: %v", err), ""}
	}
	b := &boot{
		gm: c.ownPath(), home: home, userScope: userScope,
		user: me.Username, dir: me.HomeDir, uid: me.Uid, configHome: c.getenv("XDG_CONFIG_HOME"), services: "/var/service",
	}
	b.givenHome = home != native.SystemHome
	if userScope {
		b.givenHome = home != native.Home(filepath.Join(b.dir, ".local/state/gm"))
	}
	if b.configHome == "" {
		b.configHome = filepath.Join(b.dir, ".config")
	}
	// Void, Debian and Artix.
	for _, dir := range []string{"/var/service", "/etc/service", "/run/runit/service"} {
		if exists(dir) {
			b.services = dir
			break
		}
	}
	return b, nil
}

// explainSystemd says why nothing is to be done, unless that is not so.
func (c *caller) explainSystemd(s *initSystem, o *startupOptions, text string) (said bool, err error) {
	if s.name != engineSystemd {
		return false, nil
	}
	// To have gm run the apps where systemd runs the machine takes a choice.
	name, err := c.engineName(o.engine)
	chosen := o.engine != engineAuto || c.getenv("GM_ENGINE") != ""
	if err != nil || chosen && name == engineNative {
		return false, err
	}
	return true, c.write([]byte(text))
}

func (c *caller) startup(o *startupOptions, args []string) error {
	s, err := initOf("", args)
	if err != nil {
		return err
	}
	if said, err := c.explainSystemd(s, o, "Nothing is needed: systemd starts what gm installs at boot, until gm stop.\n"); said || err != nil {
		return err
	}
	b, err := c.bootOf(o)
	if err != nil {
		return err
	}
	if !o.install {
		return c.write(s.script(b))
	}
	if err := s.mayInstall(b); err != nil {
		return err
	}
	if !machine.Executable(b.gm) {
		return &failure{statusFailed, "no-gm", fmt.Sprintf("there is no %s for the init system to start", b.gm), "install gm there: make build, and copy bin/gm"}
	}
	path, text, mode := s.file(b)
	if err := writeBootFile(path, text, mode); err != nil {
		return err
	}
	for _, argv := range s.enable(b) {
		if err := c.execute(argv); err != nil {
			return err
		}
	}
	return c.write(fmt.Appendf(nil, "Wrote %s; %s starts gm's supervisor at boot. gm unstartup takes that back.\n", path, s.name))
}

func (c *caller) unstartup(o *startupOptions, args []string) error {
	s, err := initOf("", args)
	if err != nil {
		return err
	}
	if said, err := c.explainSystemd(s, o, "Nothing of gm's starts at boot but what is installed: gm stop all, or gm uninstall.\n"); said || err != nil {
		return err
	}
	b, err := c.bootOf(o)
	if err != nil {
		return err
	}
	path, _, _ := s.file(b)
	text, err := os.ReadFile(path)
	switch {
	case isNotExist(err):
		return c.write(fmt.Appendf(nil, "Nothing to take back: there is no %s.\n", path))
	case err != nil:
		return cannotRead(path, err)
	case !bytes.Contains(text, []byte(writtenBy)):
		return &failure{statusFailed, "in-the-way", path + " is not from gm startup", "remove it by hand if it is to go"}
	}
	if err := s.mayInstall(b); err != nil {
		return err
	}
	for _, argv := range s.disable(b) {
		if err := c.execute(argv); err != nil {
			// The file goes all the same: what is not started need not be stopped.
			c.report(err)
		}
	}
	if err := os.Remove(path); err != nil {
		return &failure{statusFailed, "cannot-write", fmt.Sprintf("cannot remove %s: %s", path, reason(err)), remedyFor(err)}
	}
	if dir := filepath.Dir(path); filepath.Base(dir) == b.service() {
		_ = os.RemoveAll(dir) // with what runit keeps there
	}
	return c.write(fmt.Appendf(nil, "Removed %s; %s does not start gm's supervisor any more.\n", path, s.name))
}

// mayInstall refuses a caller without the rights.
func (s *initSystem) mayInstall(b *boot) error {
	if os.Geteuid() == 0 || s.private && b.userScope {
		return nil
	}
	return &failure{statusUnreachable, "denied", fmt.Sprintf("only root may tell %s what to start", s.name),
		fmt.Sprintf("have root run what gm startup prints: gm startup %s | sudo sh", s.name)}
}

// writeBootFile writes a file, unless somebody else's is there.
func writeBootFile(path, text string, mode os.FileMode) error {
	there, err := os.ReadFile(path)
	if err == nil && !bytes.Contains(there, []byte(writtenBy)) {
		return &failure{statusFailed, "in-the-way", path + " is there, and not from gm startup", "move it away"}
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		err = os.WriteFile(path, []byte(text), mode)
	}
	if err == nil {
		err = os.Chmod(path, mode) // whatever the umask
	}
	if err != nil {
		return &failure{statusFailed, "cannot-write", fmt.Sprintf("cannot write %s: %s", path, reason(err)), remedyFor(err)}
	}
	return nil
}

// execute runs a command of an init system.
func (c *caller) execute(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.environ, c.err, c.err
	if err := cmd.Run(); err != nil {
		cause := fmt.Sprintf("%s: %v", shellLine(argv), err)
		if errors.Is(err, exec.ErrNotFound) {
			cause = fmt.Sprintf("there is no command %s here", argv[0])
		}
		return &failure{statusFailed, "failed", cause, "gm startup prints the whole script, to be run by hand"}
	}
	return nil
}

// script is the file and the commands, for a shell.
func (s *initSystem) script(b *boot) []byte {
	path, text, mode := s.file(b)
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Has %s start the supervisor of %s at boot. To be run by root, or gm startup --install does it.\n", s.name, b.user)
	if s.private && b.userScope {
		out.Reset()
		fmt.Fprintf(&out, "# Has %s start the supervisor of %s at boot. gm startup --install does it.\n", s.name, b.user)
	}
	fmt.Fprintf(&out, "mkdir -p %s\n", shellWord(filepath.Dir(path)))
	fmt.Fprintf(&out, "cat >%s <<'EOF'\n%sEOF\n", shellWord(path), text)
	fmt.Fprintf(&out, "chmod %o %s\n", mode, shellWord(path))
	for _, argv := range s.enable(b) {
		fmt.Fprintln(&out, shellLine(argv))
	}
	return out.Bytes()
}

func shellLine(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		words[i] = shellWord(arg)
	}
	return strings.Join(words, " ")
}

// service is what the supervisor is called: of a user's there may be several.
func (b *boot) service() string {
	if b.userScope {
		return "gm-" + b.user
	}
	return "gm"
}

// command is the supervisor's, which waits while one that was started by hand
// still runs.
func (b *boot) command() []string {
	return append(native.SuperviseCommand(b.gm, b.userScope), "--wait")
}

// environ is what the supervisor needs that an init system does not set.
func (b *boot) environ() []string {
	var env []string
	if b.userScope {
		env = append(env, "HOME="+b.dir, "USER="+b.user, "LOGNAME="+b.user)
	}
	if b.givenHome {
		env = append(env, "GM_HOME="+string(b.home))
	}
	return env
}

// openrc is a script for openrc-run(8), by which supervise-daemon(8) starts the
// supervisor again should it die.
func (b *boot) openrc() string {
	var out strings.Builder
	fmt.Fprintf(&out, "#!/sbin/openrc-run\n# %s\n\n", writtenBy)
	fmt.Fprintf(&out, "name=%s\ndescription=\"the supervisor of gm, and the apps that it runs\"\n", shellWord(b.service()))
	fmt.Fprintf(&out, "supervisor=supervise-daemon\ncommand=%s\ncommand_args=%s\n", shellWord(b.gm), shellWord(shellLine(b.command()[1:])))
	owner := ""
	if b.userScope {
		fmt.Fprintf(&out, "command_user=%s\n", shellWord(b.user))
		owner = " --owner " + shellWord(b.user)
	}
	fmt.Fprintf(&out, "output_log=%[1]s\nerror_log=%[1]s\n", shellWord(b.home.Journal()))
	// Apps have the time to end that they declare.
	out.WriteString("respawn_delay=1\nrespawn_max=0\nretry=TERM/90/KILL/5\n")
	for _, pair := range b.environ() {
		fmt.Fprintf(&out, "export %s\n", shellWord(pair))
	}
	fmt.Fprintf(&out, `
depend() {
	need localmount
	use net dns logger
	after firewall
}

start_pre() {
	checkpath --directory --mode 0700%s %s
}
`, owner, shellWord(string(b.home)))
	return out.String()
}

// runit is a script for runsv(8).
func (b *boot) runit() string {
	argv := b.command()
	if env := b.environ(); env != nil {
		argv = append(append([]string{"env"}, env...), argv...)
	}
	as := ""
	if b.userScope {
		// chpst(8) sets the groups that are named, and no others.
		as = fmt.Sprintf(`chpst -u %[1]s:"$(id -Gn %[1]s | tr ' ' :)" `, shellWord(b.user))
	}
	return fmt.Sprintf("#!/bin/sh\n# %s\nexec 2>&1\nexec %s%s\n", writtenBy, as, shellLine(argv))
}

const launchLabel = "gm.supervisor"

func (b *boot) plistPath() string {
	if b.userScope {
		return filepath.Join(b.dir, "Library/LaunchAgents", launchLabel+".plist")
	}
	return "/Library/LaunchDaemons/" + launchLabel + ".plist"
}

// domain is launchctl's name of where services are.
func (b *boot) domain() string {
	if b.userScope {
		return "gui/" + b.uid
	}
	return "system"
}

// plist is a launchd.plist(5). Without AbandonProcessGroup apps would end with a
// supervisor that dies.
func (b *boot) plist() string {
	text := func(s string) string {
		var out strings.Builder
		_ = xml.EscapeText(&out, []byte(s)) // into memory
		return out.String()
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<?xml version="1.0" encoding="UTF-8"?>
<!-- %s -->
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key><string>%s</string>
	<key>ProgramArguments</key>
	<array>
`, writtenBy, launchLabel)
	for _, arg := range b.command() {
		fmt.Fprintf(&out, "\t\t<string>%s</string>\n", text(arg))
	}
	out.WriteString("\t</array>\n")
	if env := b.environ(); env != nil {
		out.WriteString("\t<key>EnvironmentVariables</key>\n\t<dict>\n")
		for _, pair := range env {
			name, value, _ := strings.Cut(pair, "=")
			fmt.Fprintf(&out, "\t\t<key>%s</key><string>%s</string>\n", text(name), text(value))
		}
		out.WriteString("\t</dict>\n")
	}
	fmt.Fprintf(&out, `	<key>RunAtLoad</key><true/>
	<key>KeepAlive</key><true/>
	<key>AbandonProcessGroup</key><true/>
	<key>ExitTimeOut</key><integer>90</integer>
	<key>StandardErrorPath</key><string>%s</string>
</dict>
</plist>
`, text(b.home.Journal()))
	return out.String()
}

const supervisorUnit = "gm-supervisor.service"

func (b *boot) unitPath() string {
	if b.userScope {
		return filepath.Join(b.configHome, "systemd/user", supervisorUnit)
	}
	return "/etc/systemd/system/" + supervisorUnit
}

func (b *boot) systemctl(args ...string) []string {
	if b.userScope {
		return append([]string{"systemctl", "--user"}, args...)
	}
	return append([]string{"systemctl"}, args...)
}

// unit is a service of systemd. With KillMode=process apps outlive a supervisor that
// dies (systemd.kill(5)); one that is stopped has stopped them itself.
func (b *boot) unit() string {
	quote := func(s string) string {
		s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(s)
		if strings.ContainsAny(s, " \t'\"\\") {
			return `"` + s + `"`
		}
		return s
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n[Unit]\nDescription=the supervisor of gm, and the apps that it runs\n", writtenBy)
	wantedBy := "default.target"
	if !b.userScope {
		wantedBy = "multi-user.target"
		out.WriteString("After=network.target\n")
	}
	words := make([]string, 0, 4)
	for _, arg := range b.command() {
		words = append(words, quote(arg))
	}
	fmt.Fprintf(&out, "\n[Service]\nExecStart=%s\n", strings.Join(words, " "))
	if b.givenHome {
		fmt.Fprintf(&out, "Environment=%s\n", quote("GM_HOME="+string(b.home)))
	}
	fmt.Fprintf(&out, "Restart=always\nKillMode=process\nDelegate=yes\n\n[Install]\nWantedBy=%s\n", wantedBy)
	return out.String()
}
