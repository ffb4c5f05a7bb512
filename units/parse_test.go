package units

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gm/diag"
)

// sameUnit compares units without the places they come from, and an absent list
// with an empty one.
var sameUnit = cmp.Options{cmpopts.IgnoreFields(Directive{}, "From"), cmpopts.EquateEmpty()}

func parse(t *testing.T, name, text string) (Unit, diag.List) {
	t.Helper()
	u, list := Parse(name, diag.NewSource(name, []byte(text)))
	for _, odd := range []bool{false, true} {
		wanted := func(section, key string) bool { return len(section+key)%2 == 1 == odd }
		want := u
		want.Directives = slices.DeleteFunc(slices.Clone(u.Directives), func(d Directive) bool { return !wanted(d.Section, d.Key) })
		got := ParseOnly(name, diag.NewSource(name, []byte(text)), wanted)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreTypes(diag.Range{})); diff != "" {
			t.Errorf("ParseOnly(%q) (-what Parse has of that +got):\n%s", text, diff)
		}
	}
	return u, list
}

// problems are the messages of l as a person reads them, without the excerpts.
func problems(l diag.List) string {
	var out strings.Builder
	for _, d := range l {
		place := "gm"
		if !d.At.IsZero() {
			place = d.At.String()
		}
		fmt.Fprintf(&out, "%s: %s: %s [%s]\n", place, d.Severity, d.Cause, d.Code)
		if d.Remedy != "" {
			fmt.Fprintf(&out, "\tfix: %s\n", d.Remedy)
		}
	}
	return out.String()
}

func TestParseUndoesRender(t *testing.T) {
	env := Unit{Name: "web.env", Directives: []Directive{
		{Key: "A", Value: FileAssign("x\n-- web.service --\ny")},
		{Key: "B", Value: FileAssign("plain")},
		{Key: "C", Value: FileAssign("")},
	}}
	for _, u := range []Unit{testUnit(t), Seal(testUnit(t), "my shop 100%", "web"), env, Seal(env, "my shop", "a\nb")} {
		got, list := parse(t, u.Name, string(Render(u)))
		if len(list) > 0 {
			t.Errorf("Parse(Render(%s)):\n%s", u.Name, problems(list))
		}
		if diff := cmp.Diff(u, got, sameUnit); diff != "" {
			t.Errorf("Parse(Render(%s)) (-want +got):\n%s", u.Name, diff)
		}
	}
}

func TestParseHandWritten(t *testing.T) {
	service := func(key string, values ...Value) []Directive {
		var list []Directive
		for _, v := range values {
			list = append(list, Directive{Section: "Service", Key: key, Value: v})
		}
		return list
	}
	for name, test := range map[string]struct {
		text string // in [Service]
		want []Directive
	}{
		"comments and blank lines": {"\n# a\n ; b\nUser=x\n", service("User", Word("x"))},
		"blanks around":            {"  User \t= x \n", service("User", Word("x"))},
		"no last newline":          {"User=x", service("User", Word("x"))},
		"carriage returns":         {"User=x\r\nGroup=y\r\n", append(service("User", Word("x")), service("Group", Word("y"))...)},
		"continuation":             {"ExecStart=/a \\\n  b \\\n# no comment of yours\nc\n", service("ExecStart", Command{Argv: []Spec{"/a", "b", "c"}})},
		"continuation at the end":  {"User=x\\", service("User", Word("x"))},
		"several assignments":      {`Environment=A=1 "B=2 3" 'C=4 "5"'`, service("Environment", Assign{"A", "1"}, Assign{"B", "2 3"}, Assign{"C", `4 "5"`})},
		"quotes inside a word":     {`Environment=A="b c"d`, service("Environment", Assign{"A", "b cd"})},
		"escapes":                  {`Environment="A=\a\b\f\n\r\t\v\\\"\'\s\x41\101\u00e9\U0001F600"`, service("Environment", Assign{"A", "\a\b\f\n\r\t\v\\\"' AAé😀"})},
		"reset":                    {"ExecStart=\nExecStart=/b\n", service("ExecStart", Raw(""), Command{Argv: []Spec{"/b"}})},
		"several commands":         {`ExecStart=/a 1 ; -/b \; ";" ';' ;`, service("ExecStart", Command{Argv: []Spec{"/a", "1"}}, Command{Prefix: "-", Argv: []Spec{"/b", ";", ";", ";"}})},
		"variables":                {`ExecReload=/bin/kill -HUP $MAINPID $$x`, service("ExecReload", Command{Argv: []Spec{"/bin/kill", "-HUP", "$MAINPID", "$$x"}, Vars: true})},
		"variable inside":          {`ExecReload=/a x${B}`, service("ExecReload", Command{Argv: []Spec{"/a", "x${B}"}, Vars: true})},
		"dollars":                  {`ExecReload=/a a$b $$c $$$$ a$`, service("ExecReload", Command{Argv: []Spec{"/a", "a$b", "$c", "$$", "a$"}})},
		"no substitution":          {`ExecReload=:/a $b`, service("ExecReload", Command{Prefix: ":", Argv: []Spec{"/a", "$b"}})},
		"program by name":          {`ExecStart=node app.js`, service("ExecStart", Command{Argv: []Spec{"node", "app.js"}})},
		"argv[0]":                  {`ExecStart=@/bin/sh -sh`, service("ExecStart", Command{Prefix: "@", Argv: []Spec{"/bin/sh", "-sh"}})},
		"quoted program":           {`ExecStart="-/my app/run" x`, service("ExecStart", Command{Prefix: "-", Argv: []Spec{"/my app/run", "x"}})},
		"quoted group":             {`SupplementaryGroups="a" 'b'`, service("SupplementaryGroups", Words{"a", "b"})},
		"booleans":                 {"SendSIGKILL=1\nSendSIGKILL=TRUE\nSendSIGKILL=off\nSendSIGKILL=n\n", service("SendSIGKILL", Bool(true), Bool(true), Bool(false), Bool(false))},
		"booleans and words":       {"ProtectSystem=strict\nProtectSystem=true\n", service("ProtectSystem", Word("strict"), Bool(true))},
		"sizes":                    {"MemoryMax=1G\nMemoryMax=1.5K\nMemoryMax=1G 1K\nMemoryMax=5B\nMemoryMax=50%\nMemoryMax=infinity\n", service("MemoryMax", Bytes(1<<30), Bytes(1536), Bytes(1<<30+1<<10), Bytes(5), Word("50%"), InfiniteBytes)},
		"limits":                   {"LimitNOFILE=1024:4096\nLimitNOFILE=0x10\nLimitNOFILE=infinity\n", service("LimitNOFILE", Word("1024:4096"), Count(16), Word("infinity"))},
		"spans": {"RestartSec=5\nRestartSec=1min30s\nRestartSec=1.5s\nRestartSec= 2 h 3 us\nRestartSec=1d 1w 1M 1y\nRestartSec=infinity\nRestartSec=.5\n",
			service("RestartSec", Span(5*time.Second), Span(90*time.Second), Span(1500*time.Millisecond), Span(2*time.Hour+3*time.Microsecond),
				Span((8*24*3600+2629800+31557600)*time.Second), InfiniteSpan, Span(500*time.Millisecond))},
		"streams": {"StandardOutput=append:/a b:c\nStandardOutput=null\nStandardOutput=fd:x\n",
			service("StandardOutput", Stream{"append", "/a b:c"}, Stream{Kind: "null"}, Stream{"fd", "x"})},
		"extensions":     {"X-Note=a  b\n[X-Foo]\nBar=1", append(service("X-Note", Raw("a  b")), Directive{Section: "X-Foo", Key: "Bar", Value: Raw("1")})},
		"other sections": {"User=x\n[Unit]\nDescription=y\n[Service]\nGroup=z", append(append(service("User", Word("x")), Directive{Section: "Unit", Key: "Description", Value: Text("y")}), service("Group", Word("z"))...)},
	} {
		t.Run(name, func(t *testing.T) {
			got, list := parse(t, "a.service", "[Service]\n"+test.text)
			if len(list) > 0 {
				t.Errorf("it is said to be wrong:\n%s", problems(list))
			}
			if diff := cmp.Diff(test.want, got.Directives, sameUnit); diff != "" {
				t.Errorf("directives (-want +got):\n%s", diff)
			}
			again, list := parse(t, "a.service", string(Render(got)))
			if diff := cmp.Diff(got, again, sameUnit); diff != "" || len(list) > 0 {
				t.Errorf("rendered and parsed again (-want +got):\n%s%s", diff, problems(list))
			}
		})
	}
}

func TestParseReports(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"unknown directive": {"[Service]\nRestrat=always\n", "a.service:2:1: warning: Restrat= is no directive of [Service] that gm knows [unknown-directive]\n\tfix: did you mean Restart=?\n"},
		"legacy directive":  {"[Service]\nMemoryLimit=1G\n", "a.service:2:1: warning: MemoryLimit= is no directive of [Service] that gm knows [unknown-directive]\n\tfix: write MemoryMax= instead\n"},
		"wrong section":     {"[Service]\nStartLimitIntervalSec=1\n", "a.service:2:1: warning: StartLimitIntervalSec= is no directive of [Service] that gm knows [unknown-directive]\n\tfix: StartLimitIntervalSec= belongs in [Unit]\n"},
		"unknown section":   {"[Servcie]\nUser=x\n", "a.service:1:1: warning: [Servcie] is no section that gm knows [unknown-directive]\n"},
		"no section":        {"User=x\n", "a.service:1:1: error: User= stands outside of any section [bad-directive]\n\tfix: put a header such as [Service] above it\n"},
		"no equals sign":    {"[Service]\n  User x\n", "a.service:2:3: error: \"User x\" has no = [bad-directive]\n\tfix: write Key=value\n"},
		"bad header":        {"[Service\nUser=x\n", "a.service:1:1: error: \"[Service\" is no section header [bad-directive]\n\tfix: write [Name], with letters, digits, - and _\n"},
		"bad key":           {"[Service]\nUs er=x\n", "a.service:2:1: error: \"Us er\" is no directive name; it takes letters, digits, -, _ and . [bad-directive]\n"},
		"bad UTF-8":         {"[Service]\nUser=\xff\n", "a.service:2:1: error: the line has a byte 0xff at 5 that is not UTF-8, which systemd refuses [bad-directive]\n"},
		"bad size":          {"[Service]\nMemoryMax=150MB\n", "a.service:2:11: error: MemoryMax: \"150MB\" is no size; bytes are expected, or a number with K, M, G or T [bad-directive]\n"},
		"bad span":          {"[Service]\nRestartSec = 5 parsecs\n", "a.service:2:14: error: RestartSec: \"5 parsecs\" is no length of time; seconds are expected, or something like 100ms or 1min 30s [bad-directive]\n"},
		"long span":         {"[Service]\nRestartSec=1000y\n", "a.service:2:12: error: RestartSec: \"1000y\" is longer than 292 years; write infinity [bad-directive]\n"},
		"bad boolean":       {"[Service]\nSendSIGKILL=maybe\n", "a.service:2:13: error: SendSIGKILL: \"maybe\" is neither yes nor no [bad-directive]\n"},
		"bad number":        {"[Service]\nNice=low\n", "a.service:2:6: error: Nice: \"low\" is not a whole number [bad-directive]\n"},
		"quoted path":       {"[Service]\nWorkingDirectory=\"/a b\"\n", "a.service:2:18: error: WorkingDirectory: \"\\\"/a b\\\"\" is not absolute; an absolute path is expected [bad-directive]\n"},
		"bad escape":        {`[Service]` + "\n" + `Environment="A=\d"`, "a.service:2:13: error: Environment: \"\\\\d\" is no escape sequence [bad-directive]\n"},
		"open quote":        {"[Service]\nExecStart=/a \"b\n", "a.service:2:11: error: ExecStart: a quote \" is not closed [bad-directive]\n"},
		"bare blank":        {"[Service]\nEnvironment=A=b c\n", "a.service:2:13: error: Environment: \"c\" is no NAME=value; a value with blanks needs quotes around the whole assignment: \"NAME=a b\" [bad-directive]\n"},
		"shell":             {"[Service]\nExecStart=|echo\n", "a.service:2:11: error: ExecStart: \"|echo\" begins with |: commands through a shell are not supported; name the shell [bad-directive]\n"},
		"bad schedule":      {"[Timer]\nOnCalendar=*/5 * * * *\n", "a.service:2:12: error: OnCalendar: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, list := parse(t, "a.service", test.text)
			got := problems(list)
			if len(list) != 1 || !strings.HasPrefix(got, test.want) {
				t.Errorf("got:\n%swant:\n%s", got, test.want)
			}
		})
	}
}

func TestParseEnvironmentFile(t *testing.T) {
	text := "# comment\n; another\n\nA=1\n B = x y \nC='a\nb'\"$d\\$e\"f g \nD=\"a\\\nb\\\"\"\nE=a\\ b\\\nc\nF=a#b\nG=\nH='it'\\''s'\r\nI=last"
	want := []Directive{
		{Key: "A", Value: FileAssign("1")},
		{Key: "B", Value: FileAssign("x y")},
		{Key: "C", Value: FileAssign("a\nb$d$ef g")},
		{Key: "D", Value: FileAssign(`ab"`)},
		{Key: "E", Value: FileAssign("a bc")},
		{Key: "F", Value: FileAssign("a#b")},
		{Key: "G", Value: FileAssign("")},
		// Not what a shell reads, but what systemd does: after an escaped quote
		// the next one is text.
		{Key: "H", Value: FileAssign("it''s'")},
		{Key: "I", Value: FileAssign("last")},
	}
	got, list := parse(t, "web.env", text)
	if len(list) > 0 {
		t.Errorf("it is said to be wrong:\n%s", problems(list))
	}
	if diff := cmp.Diff(want, got.Directives, sameUnit); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

func TestParseEnvironmentFileReports(t *testing.T) {
	_, list := parse(t, "web.env", "export A=1\nB\nC.D=2\nE=\"x\n")
	want := `web.env:1:1: error: "export A" is no variable name for systemd; it takes letters, digits and _, not beginning with a digit [bad-directive]
web.env:2:1: error: "B" has no = [bad-directive]
	fix: write NAME=value
web.env:3:1: error: "C.D" is no variable name for systemd; it takes letters, digits and _, not beginning with a digit [bad-directive]
web.env:4:1: error: a quote in the value of E is not closed [bad-directive]
`
	if diff := cmp.Diff(want, problems(list)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestParseKeepsPlaces(t *testing.T) {
	text := "[Service]\nUser=x\nEnvironment=A=1 \\\n  B=2\n"
	u, _ := parse(t, "a.service", text)
	var got []string
	for _, d := range u.Directives {
		got = append(got, text[d.From.Start:d.From.End])
	}
	want := []string{"User=x", "Environment=A=1 \\\n  B=2", "Environment=A=1 \\\n  B=2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}

func TestParseValueWantsOne(t *testing.T) {
	rule, _ := Lookup("Service", "Environment")
	if v, err := ParseValue(rule, "A=1 B=2"); err == nil {
		t.Errorf("got %v, want an error", v)
	}
	v, err := ParseValue(rule, `"A=1 B=2"`)
	if err != nil || v != (Assign{"A", "1 B=2"}) {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestCommandArgs(t *testing.T) {
	env := map[string]string{"ONE": "one", "TWO": "two  'three four'", "OPEN": `a\ b '' "x 'y`, "EMPTY": ""}
	specifier := func(c byte) (string, bool) { return "7", c == 'i' }
	variable := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	for text, want := range map[string][]string{
		"/a $ONE $TWO ${TWO}":             {"/a", "one", "two", "three four", "two  'three four'"},
		"/a x${ONE}y$ONE a$ONE":           {"/a", "xoney$ONE", "a$ONE"},
		"/a $EMPTY ${EMPTY} $NONE":        {"/a", ""},
		"/a $$ONE $${ONE} a$$b $TWO a$":   {"/a", "$ONE", "${ONE}", "a$b", "two", "three four", "a$"},
		"/a%i %i %%i $OPEN ${ONE":         {"/a7", "7", "%i", "a b", "", "x 'y", "${ONE"},
		":/a $ONE ${ONE} $$":              {"/a", "$ONE", "${ONE}", "$$"},
		"/a $$ONE":                        {"/a", "$ONE"},
		`/a "$$HOME" '$${X}' "100%%" ";"`: {"/a", "$HOME", "${X}", "100%", ";"},
	} {
		values, err := parseCommands(text)
		if err != nil || len(values) != 1 {
			t.Errorf("%s: %v, %v", text, values, err)
			continue
		}
		if diff := cmp.Diff(want, values[0].(Command).Args(specifier, variable)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// nasty is what values are made of that go wrong.
var nasty = []string{"", "a", "a b", " a ", "a\nb", "a\n-- b.service --\nc", "\t", "\r\n", `\`, `a\`, `\\`, `\n`, `"`, `'`, "`", "$", "$$", "$HOME", "${HOME}", "a$",
	"%", "%%", "%i", "100%", ";", `\;`, "#", "; #", "*", "~", "-x", "=", "a=b", "é", "😀", "\u0085", "\ufeff", "\x01\x7f", "[X]", "infinity", "1min"}

func FuzzRoundTrip(f *testing.F) {
	for i, s := range nasty {
		f.Add(s, nasty[(i+7)%len(nasty)], int64(i)*1001, i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, a, b string, n int64, escape bool) {
		spec := func(s string) Spec {
			if escape {
				return Escape(s)
			}
			return Spec(s)
		}
		u, env := Unit{Name: "a.service"}, Unit{Name: "a.env"}
		add := func(section, key string, v Value, err error) {
			if err == nil {
				u.Directives = append(u.Directives, Directive{Section: section, Key: key, Value: v})
			}
		}
		text, err := NewText(spec(a))
		add("Unit", "Description", text, err)
		words, err := NewWords(a, b)
		add("Unit", "Wants", words, err)
		path, err := NewPath(spec("/" + a))
		add("Unit", "SourcePath", path, err)
		span, err := NewSpan(time.Duration(n))
		add("Service", "RestartSec", span, err)
		for _, c := range []struct {
			prefix string
			argv   []Spec
		}{
			{"", []Spec{"/a", spec(a), spec(b)}}, {"-", []Spec{spec("/" + a), spec(b)}},
			{":", []Spec{"/a", spec(a), spec(b)}}, {"@", []Spec{"/a", spec(a), spec(b)}}, {a, []Spec{"/a", spec(b)}},
		} {
			command, err := NewCommand(c.prefix, c.argv)
			if err == nil && escape {
				for i, arg := range command.Args(nil, nil) {
					if want, _ := c.argv[i].Literal(); arg != want {
						t.Errorf("argument %d is %q, want %q", i, arg, want)
					}
				}
			}
			add("Service", "ExecStart", command, err)
		}
		assign, err := NewAssign("A", spec(a))
		add("Service", "Environment", assign, err)
		assign, err = NewAssign(b, spec(a))
		add("Service", "Environment", assign, err)
		stream, err := NewStream("append", spec("/"+b))
		add("Service", "StandardOutput", stream, err)
		add("Service", "MemoryMax", Bytes(n), nil)
		add("Service", "Nice", Count(n), nil)
		raw, err := NewRaw(a)
		add("Service", "SystemCallFilter", raw, err)
		for _, name := range []string{"A", b} {
			if v, err := NewFileAssign(name, a); err == nil {
				env.Directives = append(env.Directives, Directive{Key: name, Value: v})
			}
		}
		for _, d := range u.Directives {
			if rule, _ := Lookup(d.Section, d.Key); !rule.Kind.Holds(d.Value) {
				t.Errorf("%s= does not hold %#v", d.Key, d.Value)
			}
		}
		for _, u := range []Unit{u, env, Seal(u, a, b), Seal(env, a, b)} {
			file := Render(u)
			got, list := Parse(u.Name, diag.NewSource(u.Name, file))
			if diff := cmp.Diff(u, got, sameUnit); diff != "" || len(list) > 0 {
				t.Fatalf("%s\n(-want +got):\n%s%s", file, diff, problems(list))
			}
		}
		sealed := Render(Seal(u, a, b))
		mark, pristine, ok := Sealed(sealed)
		if want, _ := Seal(u, a, b).Mark(); !ok || !pristine || mark != want {
			t.Fatalf("Sealed = %v, %v, %v; want %v", mark, pristine, ok, want)
		}
		var stream2 strings.Builder
		set := Set{env, u}
		if err := WriteStream(&stream2, set); err != nil {
			t.Fatal(err)
		}
		got, list := ReadStream(diag.NewSource("stream", []byte(stream2.String())))
		if diff := cmp.Diff(set, got, sameUnit); diff != "" || len(list) > 0 {
			t.Fatalf("%s\n(-want +got):\n%s%s", &stream2, diff, problems(list))
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range nasty {
		f.Add("[Service]\nExecStart=/a "+s+"\nEnvironment=A="+s+"\nUser="+s+"\nStandardOutput=file:/"+s+"\nMemoryMax="+s+"\n", false)
		f.Add("[Unit]\nDescription="+s+"\nAfter="+s+"\n[Service]\nRestartSec="+s+"\nProtectSystem="+s+"\n[Timer]\nOnCalendar="+s+"\n", false)
		f.Add("# X-Gm: Project="+s+"\nA="+s+"\nB=\""+s+"\"\nC='"+s+"'\n", true)
	}
	f.Add("[Service]\nExecStart=/a \\\n\\\n# x\n;y\n \\", false)
	f.Add("[Service]\nRestartSec=1y 2M 3w 4d 5h 6m 7.5s 8ms 9us\nMemoryMax=1E 1P 1T 1G 1M 1K 1B\n", false)
	f.Fuzz(func(t *testing.T, text string, isEnv bool) {
		name := "a.service"
		if isEnv {
			name = "a.env"
		}
		u, _ := parse(t, name, text)
		file := Render(u)
		if !utf8.Valid(file) {
			t.Fatalf("Render is not UTF-8: %q", file)
		}
		got, list := Parse(name, diag.NewSource(name, file))
		if diff := cmp.Diff(u, got, sameUnit); diff != "" || list.HasErrors() {
			t.Fatalf("%s\n(-want +got):\n%s%s", file, diff, problems(list))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	src := diag.NewSource("web@.service", Render(Seal(testUnit(b), "shop", "web")))
	b.SetBytes(int64(len(src.Text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, list := Parse(src.Name, src); len(list) > 0 {
			b.Fatal(problems(list))
		}
	}
}
