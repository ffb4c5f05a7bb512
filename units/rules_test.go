package units

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/directives.md instead of comparing it")

func TestRulesAreWellFormed(t *testing.T) {
	seen := map[name]bool{}
	for _, r := range Rules() {
		key := name{r.Section, r.Key}
		if seen[key] {
			t.Errorf("[%s] %s= has two rows", r.Section, r.Key)
		}
		seen[key] = true
		if err := CheckKey(r.Section, r.Key); err != nil {
			t.Error(err)
		}
		if r.Since != 0 && r.Since <= 245 {
			t.Errorf("[%s] %s= is since %d; up to 245 that is 0", r.Section, r.Key, r.Since)
		}
		if !strings.HasSuffix(r.Doc, ".") && !strings.HasSuffix(r.Doc, "…") || len(r.Doc) > 120 || strings.Contains(r.Doc, "|") {
			t.Errorf("[%s] %s=: %q is not one short sentence", r.Section, r.Key, r.Doc)
		}
	}
}

func TestOrderIsThatOfRules(t *testing.T) {
	directive := func(section, key string) Directive { return Directive{Section: section, Key: key, Value: Raw("1")} }
	var want Unit
	for _, r := range Rules() {
		if r.Section == "Socket" || r.Section == "Install" {
			want.Directives = append(want.Directives, directive(r.Section, r.Key))
		}
		if r.Key == "SmackProcessLabel" && r.Section == "Socket" {
			want.Directives = append(want.Directives, directive("Socket", "Zzz"), directive("Socket", "Aaa"),
				directive("X-Bar", "A"), directive("X-Foo", "A"))
		}
	}
	got := Unit{Directives: slices.Clone(want.Directives)}
	slices.Reverse(got.Directives)
	for i, d := range got.Directives { // those without a rule keep their order
		if d.Key == "Aaa" {
			got.Directives[i], got.Directives[i+1] = got.Directives[i+1], got.Directives[i]
			break
		}
	}
	got.Sort()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sorted (-want +got):\n%s", diff)
	}
}

// TestRulesSayWhatReloads: a directive of a part of the unit that no process is
// made from is live, and one that makes the process is not.
func TestRulesSayWhatReloads(t *testing.T) {
	for _, r := range Rules() {
		if (r.Section == "Install" || r.Section == markSection) && !r.Live {
			t.Errorf("[%s] %s= is not live, and systemd reads it at enable or never", r.Section, r.Key)
		}
	}
	for _, c := range []struct {
		section, key string
		live         bool
	}{
		{"Unit", "Description", true}, {"Unit", "After", true}, {"Unit", "StartLimitBurst", true}, {"Unit", "JoinsNamespaceOf", false},
		{"Service", "KillSignal", true}, {"Service", "TimeoutStopSec", true}, {"Service", "Restart", true}, {"Service", "ExecStop", true},
		{"Service", "ExecStart", false}, {"Service", "ExecStartPre", false}, {"Service", "Environment", false}, {"Service", "Type", false},
		{"Service", "User", false}, {"Service", "StandardOutput", false}, {"Service", "LimitNOFILE", false}, {"Service", "RootDirectoryStartOnly", false},
		{"Service", "MemoryMax", false}, {"Slice", "TasksMax", false}, {"Slice", "ConcurrencySoftMax", true}, {"Service", "Slice", false}, {"Service", "Delegate", false},
		{"Timer", "OnCalendar", true}, {"Timer", "AccuracySec", true}, {"Socket", "ListenStream", false}, {"Socket", "SocketMode", false},
	} {
		if rule, ok := Lookup(c.section, c.key); !ok || rule.Live != c.live {
			t.Errorf("[%s] %s=: live is %v, want %v", c.section, c.key, rule.Live, c.live)
		}
	}
}

// retired are directives of the table that newer versions read without listing
// them, because they have no effect there.
var retired = []string{"CPUAccounting", "DefaultMemoryMin", "DefaultMemoryLow", "DefaultStartupMemoryLow"}

// kindsOf says which kinds fit the types that systemd names. A type that is
// missing, OTHER above all, says nothing.
var kindsOf = map[string][]Kind{
	"ACCESS": {KindWord}, "ACTION": {KindWord}, "BOOLEAN": {KindBool, KindSwitch}, "CPUWEIGHT": {KindLimit},
	"CPUSCHEDPOLICY": {KindWord}, "CPUSCHEDPRIO": {KindCount}, "ENVIRON": {KindAssign}, "FILE": {KindPath},
	"INPUT": {KindStream}, "INTEGER": {KindCount}, "IOCLASS": {KindWord}, "IOPRIORITY": {KindCount}, "KILLMODE": {KindWord},
	"LEVEL": {KindWord}, "LIMIT": {KindLimit, KindBytes, KindRaw}, "LONG": {KindCount}, "MODE": {KindWord}, "NICE": {KindCount},
	"OOMSCOREADJUST": {KindCount}, "OUTPUT": {KindStream}, "PATH": {KindPath, KindRaw}, "PATH [ARGUMENT [...]]": {KindCommand},
	"PATH [...]": {KindRaw}, "SECONDS": {KindSpan}, "SERVICE": {KindWord}, "SERVICERESTART": {KindWord}, "SERVICETYPE": {KindWord},
	"SIGNAL": {KindWord}, "SIZE": {KindBytes}, "SLICE": {KindWord}, "SOCKET [...]": {KindText, KindPath}, "SOCKETS": {KindWords},
	"STATUS": {KindWords}, "STRING": {KindText}, "TIMEOUTMODE": {KindWord}, "TIMER": {KindCalendar, KindSpan}, "UNIT": {KindWord},
	"UNIT [...]": {KindWords}, "UNSIGNED": {KindCount}, "URL": {KindWords}, "WEIGHT": {KindLimit}, "CONDITION": {KindText},
}

// TestRulesAgreeWithSystemd holds the table against what the running machine's
// systemd says of itself; GM_SYSTEMD names another one.
func TestRulesAgreeWithSystemd(t *testing.T) {
	binary := requireTool(t, systemdBinary())
	version := 0
	if _, err := fmt.Sscanf(output(t, exec.Command(binary, "--version")), "systemd %d", &version); err != nil {
		t.Fatal(err)
	}
	types := map[name]string{}
	section := ""
	for line := range strings.Lines(output(t, exec.Command(binary, "--dump-configuration-items"))) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		} else if key, kind, ok := strings.Cut(line, "="); ok && isKnownSection(section) {
			types[name{section, key}] = kind
		}
	}
	for _, r := range Rules() {
		kind, known := types[name{r.Section, r.Key}]
		switch {
		case r.Section == markSection || version >= 258 && slices.Contains(retired, r.Key):
		case known && r.Since > version:
			t.Errorf("[%s] %s= is since %d in the table, but systemd %d knows it", r.Section, r.Key, r.Since, version)
		case !known && r.Since <= version:
			t.Errorf("[%s] %s= is since %d in the table, but systemd %d does not know it", r.Section, r.Key, r.Since, version)
		case known && kindsOf[kind] != nil && !slices.Contains(kindsOf[kind], r.Kind):
			t.Errorf("[%s] %s= is a %s in the table, and %s for systemd", r.Section, r.Key, r.Kind, kind)
		}
	}
	for key := range types {
		_, ok := Lookup(key.section, key.key)
		if _, old := successor(key.section, key.key); !ok && !old {
			t.Errorf("[%s] %s= has no rule", key.section, key.key)
		}
	}
}

const directivesFile = "../docs/directives.md"

//go:generate go test -run ^TestDocsAreCurrent$ -update .

// TestDocsAreCurrent compares docs/directives.md with the table, and writes it
// under -update.
func TestDocsAreCurrent(t *testing.T) {
	want := directivesDoc()
	if *update {
		if err := os.WriteFile(directivesFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(directivesFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale; run: go test ./units -run TestDocsAreCurrent -update\n%s", directivesFile, cmp.Diff(string(got), string(want)))
	}
}

// directivesDoc is the table as a page: a part for each set of sections that
// share directives, in the order of the rules.
func directivesDoc() []byte {
	var out bytes.Buffer
	out.WriteString(`# Directives

Made from units/rules_table.go by ` + "`go test ./units -run TestDocsAreCurrent -update`" + `; do not edit.

What gm knows of systemd's language: units may hold other directives, with a warning. *Since* is the
systemd version that brought a directive; where it is empty, 245 or before, which is the oldest that gm
supports. *Lists* says that several lines add up; else the last one counts. *Applies* says what brings a
change to a unit that runs: a *reload* (` + "`systemctl daemon-reload`" + `), or a *restart* of the unit.

| kind | written as |
|---|---|
`)
	for _, k := range []struct {
		kind Kind
		doc  string
	}{
		{KindText, "the rest of the line, not unquoted; `%` is a specifier, `%%` a percent sign"},
		{KindWord, "one word"},
		{KindWords, "words with blanks between them"},
		{KindBool, "`yes` or `no`"},
		{KindSwitch, "`yes`, `no`, or one of the words that systemd's man page lists"},
		{KindCount, "a whole number"},
		{KindLimit, "a whole number, `infinity`, a percentage, or `SOFT:HARD`"},
		{KindBytes, "bytes, or a number with `K`, `M`, `G`, `T` to the base of 1024, `infinity`, a percentage"},
		{KindSpan, "seconds, or `100ms`, `1min 30s`, `infinity`"},
		{KindPath, "an absolute path to the end of the line, not unquoted"},
		{KindStream, "`journal`, `null`, `inherit`, or `append:`, `file:`, `truncate:` with an absolute path"},
		{KindCommand, "a program and its arguments, quoted; `$$` is a dollar sign"},
		{KindAssign, "`NAME=value`, in quotes if there are blanks in it"},
		{KindCalendar, "a calendar event, as `Mon..Fri *-*-* 04:00:00`"},
		{KindRaw, "whatever systemd's man page says; gm passes it on as it is"},
	} {
		fmt.Fprintf(&out, "| %s | %s |\n", k.kind, k.doc)
	}
	shared := map[string][]string{} // the sections of a row
	row := func(r Rule) string {
		since, lists, applies := "", "", "restart"
		if r.Since > 0 {
			since = fmt.Sprint(r.Since)
		}
		if r.Repeats {
			lists = "yes"
		}
		if r.Live {
			applies = "reload"
		}
		return fmt.Sprintf("| %s= | %s | %s | %s | %s | %s |\n", r.Key, r.Kind, lists, since, applies, r.Doc)
	}
	for _, r := range Rules() {
		shared[row(r)] = append(shared[row(r)], "["+r.Section+"]")
	}
	var parts []string
	rows := map[string][]string{}
	for _, r := range Rules() {
		text := row(r)
		part := strings.Join(shared[text], ", ")
		if shared[text][0] != "["+r.Section+"]" {
			continue
		}
		if rows[part] == nil {
			parts = append(parts, part)
		}
		rows[part] = append(rows[part], text)
	}
	for _, part := range parts {
		fmt.Fprintf(&out, "\n## %s\n\n| directive | kind | lists | since | applies | what it says |\n|---|---|---|---|---|---|\n%s", part, strings.Join(rows[part], ""))
	}
	return out.Bytes()
}

// requireTool returns the path of a program. Without it the test is skipped,
// unless GM_REQUIRE_SYSTEMD=1 asks for all of them.
func requireTool(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("GM_REQUIRE_SYSTEMD") == "1" {
		t.Fatalf("%s is missing: %v", program, err)
	}
	t.Skipf("%s is missing: %v", program, err)
	return ""
}

func systemdBinary() string {
	if path := os.Getenv("GM_SYSTEMD"); path != "" {
		return path
	}
	return "/usr/lib/systemd/systemd"
}

// output runs a command whose failure fails the test.
func output(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	var errors bytes.Buffer
	command.Stderr = &errors
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", command, err, out, &errors)
	}
	return string(out)
}
