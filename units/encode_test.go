package units

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEncodeValues(t *testing.T) {
	for _, test := range []struct {
		value Value
		want  string
	}{
		{Text("a %% b"), "a %% b"},
		{Word("always"), "always"},
		{Words{"a.service", "b.service"}, "a.service b.service"},
		{Bool(true), "yes"},
		{Bool(false), "no"},
		{Count(-20), "-20"},
		{Bytes(157286400), "157286400"},
		{InfiniteBytes, "infinity"},
		{Span(0), "0"},
		{Span(-time.Second), "0"},
		{Span(100 * time.Millisecond), "100ms"},
		{Span(1600 * time.Millisecond), "1s 600ms"},
		{Span(17600 * time.Millisecond), "17s 600ms"},
		{Span(90 * time.Second), "1min 30s"},
		{Span(25*time.Hour + time.Microsecond), "1d 1h 1us"},
		{InfiniteSpan, "infinity"},
		{Path("/srv/my app"), "/srv/my app"},
		{Stream{Kind: "journal"}, "journal"},
		{Stream{"append", "/var/log/a b-%i.log"}, "append:/var/log/a b-%i.log"},
		{Command{Argv: []Spec{"/usr/bin/node", "--port=80", "x.js"}}, "/usr/bin/node --port=80 x.js"},
		{Command{Prefix: "-+", Argv: []Spec{"/opt/my app/run", "", ";", "a b"}}, `-+"/opt/my app/run" "" ";" "a b"`},
		{Command{Argv: []Spec{"/bin/sh", `"it's" \`, "$HOME", "tab\tnl\n", "\x01\x7f\u0085é"}},
			`/bin/sh "\"it's\" \\" "$$HOME" "tab\tnl\n" "\x01\x7f\u0085é"`},
		{Command{Prefix: ":", Argv: []Spec{"/bin/echo", "$HOME"}}, `:/bin/echo "$HOME"`},
		{Command{Argv: []Spec{"/bin/kill", "$MAINPID"}, Vars: true}, `/bin/kill "$MAINPID"`},
		{Assign{"PORT", "3000"}, "PORT=3000"},
		{Assign{"EMPTY", ""}, "EMPTY="},
		{Assign{"NODE_APP_INSTANCE", "%i"}, "NODE_APP_INSTANCE=%i"},
		{Assign{"A", "x y \"q\" \\ $HOME\n"}, `"A=x y \"q\" \\ $HOME\n"`},
		{FileAssign("3000"), "3000"},
		{FileAssign(""), ""},
		{FileAssign("a \"b\" \\ $c `d`\n%e"), "\"a \\\"b\\\" \\\\ \\$c \\`d\\`\n%e\""},
		{FileAssign("a\n-- web.service --\n-- b"), "\"a\n-\\\n- web.service --\n-\\\n- b\""},
		{Raw("~@clock"), "~@clock"},
	} {
		if got := Encode(test.value); got != test.want {
			t.Errorf("Encode(%#v):\ngot  %s\nwant %s", test.value, got, test.want)
		}
	}
}

func TestRenderUnit(t *testing.T) {
	u := Unit{Name: "web.service", Directives: []Directive{
		{Section: "Unit", Key: "Description", Value: Text("web")},
		{Section: "Unit", Key: "After", Value: Words{"network.target"}},
		{Section: "Service", Key: "ExecStart", Value: Command{Argv: []Spec{"/usr/bin/node", "app.js"}}},
		{Section: "Install", Key: "WantedBy", Value: Words{"default.target"}},
	}}
	want := `[Unit]
Description=web
After=network.target

[Service]
ExecStart=/usr/bin/node app.js

[Install]
WantedBy=default.target
`
	if diff := cmp.Diff(want, string(Render(u))); diff != "" {
		t.Errorf("Render (-want +got):\n%s", diff)
	}
}

func TestRenderRefusesLineEnds(t *testing.T) {
	for name, d := range map[string]Directive{
		"value":           {Section: "Service", Key: "User", Value: Word("a\nExecStart=/bin/evil")},
		"carriage return": {Section: "Service", Key: "User", Value: Word("a\rExecStart=/bin/evil")},
		"NUL":             {Section: "Service", Key: "User", Value: Word("a\x00ExecStart=/bin/evil")},
		"key":             {Section: "Service", Key: "User=a\nGroup", Value: Word("b")},
		"section":         {Section: "Service]\nUser=a\n[X", Key: "Group", Value: Word("b")},
		"no section":      {Key: "Group", Value: Word("b")},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("Render wrote it")
				}
			}()
			Render(Unit{"a.service", []Directive{d}})
		})
	}
}

func TestConstructorsRefuse(t *testing.T) {
	long := Spec(strings.Repeat("x", 128<<10))
	for name, test := range map[string]struct {
		make func() error
		want string // part of the message
	}{
		"text with newline":      {func() error { _, err := NewText("a\nb"); return err }, "control character (U+000A) at byte 1"},
		"text with escape":       {func() error { _, err := NewText("a\x1b[31m"); return err }, "control character (U+001B)"},
		"text with outer blank":  {func() error { _, err := NewText(" a"); return err }, "begins or ends with a blank"},
		"text that joins lines":  {func() error { _, err := NewText(`a\`); return err }, "ends with a backslash"},
		"text with bad UTF-8":    {func() error { _, err := NewText("a\xff"); return err }, "byte 0xff at 1 that is not UTF-8"},
		"text with noncharacter": {func() error { _, err := NewText("\ufdd0"); return err }, "U+FDD0"},
		"empty word":             {func() error { _, err := NewWord(""); return err }, "is empty"},
		"two words":              {func() error { _, err := NewWord("a b"); return err }, "holds a blank"},
		"no words":               {func() error { _, err := NewWords(); return err }, "the list is empty"},
		"quoted word":            {func() error { _, err := NewWords(`"a"`); return err }, "holds a quote"},
		"negative span":          {func() error { _, err := NewSpan(-1); return err }, "is negative"},
		"relative path":          {func() error { _, err := NewPath("logs/x"); return err }, `"logs/x" is not absolute`},
		"path with percent":      {func() error { _, err := NewPath("%%h/x"); return err }, "is not absolute"},
		"path going up":          {func() error { _, err := NewPath("/a/../b"); return err }, `has a ".." in it`},
		"path with long part":    {func() error { _, err := NewPath("/" + long[:256]); return err }, "a file name has at most 255"},
		"long path":              {func() error { _, err := NewPath(Spec(strings.Repeat("/abc", 1024))); return err }, "a path has at most 4095"},
		"home below":             {func() error { _, err := NewPath("~/x"); return err }, "is not absolute"},
		"relative stream":        {func() error { _, err := NewStream("append", "x.log"); return err }, "is not absolute"},
		"journal with path":      {func() error { _, err := NewStream("journal", "/x"); return err }, "takes no path"},
		"unknown stream":         {func() error { _, err := NewStream("syslog", ""); return err }, "is no kind of stream"},
		"no program":             {func() error { _, err := NewCommand("", nil); return err }, "the command is empty"},
		"relative program":       {func() error { _, err := NewCommand("", []Spec{"node"}); return err }, `the program "node" is not absolute`},
		"directory as program":   {func() error { _, err := NewCommand("", []Spec{"/bin/"}); return err }, "is a directory"},
		"quote in program":       {func() error { _, err := NewCommand("", []Spec{"/it's"}); return err }, "holds a quote or a backslash"},
		"variable in program":    {func() error { _, err := NewCommand("", []Spec{"/${a}"}); return err }, "holds $$ or ${"},
		"bad prefix":             {func() error { _, err := NewCommand("*", []Spec{"/a"}); return err }, "is no prefix"},
		"excluding prefixes":     {func() error { _, err := NewCommand("+!", []Spec{"/a"}); return err }, "both + and !"},
		"no argv[0]":             {func() error { _, err := NewCommand("@", []Spec{"/a"}); return err }, "argv[0]"},
		"NUL in argument":        {func() error { _, err := NewCommand("", []Spec{"/a", "b\x00"}); return err }, "argument 1 has a NUL at byte 1"},
		"bad UTF-8 in argument":  {func() error { _, err := NewCommand("", []Spec{"/a", "\xc3"}); return err }, "argument 1 has a byte 0xc3 at 0"},
		"argument over 128 KiB":  {func() error { _, err := NewCommand("", []Spec{"/a", long}); return err }, "the kernel passes at most 131071"},
		"command over 1 MiB": {func() error {
			_, err := NewCommand("", []Spec{"/a", long[1:], long[1:], long[1:], long[1:], long[1:], long[1:], long[1:], long[1:]})
			return err
		}, "at most 1 MiB"},
		"name with dot":              {func() error { _, err := NewAssign("a.b", "c"); return err }, "is no variable name"},
		"name with digit":            {func() error { _, err := NewAssign("1a", "c"); return err }, "is no variable name"},
		"empty name":                 {func() error { _, err := NewAssign("", "c"); return err }, "the variable's name is empty"},
		"NUL in variable":            {func() error { _, err := NewAssign("A", "\x00"); return err }, "the value of A has a NUL"},
		"variable over 128 KiB":      {func() error { _, err := NewAssign("A", long[2:]); return err }, "A has 131072 bytes with its name"},
		"file variable over 128 KiB": {func() error { _, err := NewFileAssign("A", string(long)); return err }, "at most 131071"},
		"bad UTF-8 in file variable": {func() error { _, err := NewFileAssign("A", "\xff"); return err }, "the value of A has a byte 0xff"},
		"raw with newline":           {func() error { _, err := NewRaw("a\nb"); return err }, "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.make()
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %q, want no error", err)
			case test.want != "" && err == nil:
				t.Errorf("got no error, want %q", test.want)
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Errorf("got %q, want %q", err, test.want)
			}
		})
	}
}

func TestConstructorsTake(t *testing.T) {
	for _, path := range []Spec{"/", "/srv/my app", "%h/x", "~", "-/etc/default/web", "-~", `/a\\`} {
		if _, err := NewPath(path); err != nil {
			t.Errorf("NewPath(%q): %v", path, err)
		}
	}
	for _, prefix := range []string{"", "-", "+", "-+", "!", "!!", ":-!!", "@"} {
		if _, err := NewCommand(prefix, []Spec{"%h/bin/run", "a"}); err != nil {
			t.Errorf("NewCommand(%q): %v", prefix, err)
		}
	}
	if _, err := NewAssign("A", Spec(strings.Repeat("x", 131069))); err != nil {
		t.Errorf("a variable of 131071 bytes: %v", err)
	}
	if _, err := NewCommand("", []Spec{"/a", Escape(strings.Repeat("%", 131071))}); err != nil {
		t.Errorf("an argument of 131071 percent signs: %v", err)
	}
}

func TestSpec(t *testing.T) {
	for _, text := range []string{"", "a", "100%", "%i", "%%", "a%b%"} {
		got, plain := Escape(text).Literal()
		if got != text || !plain {
			t.Errorf("Escape(%q).Literal() = %q, %v", text, got, plain)
		}
	}
	spec := "a-%i-" + Escape("%i")
	if _, plain := spec.Literal(); plain {
		t.Errorf("%q is said to be plain text", spec)
	}
	got := spec.Expand(func(c byte) (string, bool) { return "7", c == 'i' })
	if want := "a-7-%i"; got != want {
		t.Errorf("Expand(%q) = %q, want %q", spec, got, want)
	}
}

// BenchmarkRender is one app of ordinary size.
func BenchmarkRender(b *testing.B) {
	u := Seal(testUnit(b), "shop", "web")
	buf := Render(u)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendRender(buf[:0], u)
	}
}

func BenchmarkSort(b *testing.B) {
	u := testUnit(b)
	for b.Loop() {
		u.Sort()
	}
}

func BenchmarkSeal(b *testing.B) {
	u := testUnit(b)
	b.ReportAllocs()
	for b.Loop() {
		Seal(u, "shop", "web")
	}
}

// testUnit is a unit as the compiler makes them.
func testUnit(t testing.TB) Unit {
	t.Helper()
	command, err := NewCommand("", []Spec{"/usr/bin/node", "--max-old-space-size=300", "/srv/shop/app.js", "a b", "it's", "$HOME", "100%%"})
	if err != nil {
		t.Fatal(err)
	}
	u := Unit{Name: "web@.service", Directives: []Directive{
		{Section: "Unit", Key: "Description", Value: Text("web %i")},
		{Section: "Unit", Key: "SourcePath", Value: Path("/srv/shop/ecosystem.config.js")},
		{Section: "Unit", Key: "PartOf", Value: Words{"web.target"}},
		{Section: "Unit", Key: "After", Value: Words{"network.target", "web.socket"}},
		{Section: "Unit", Key: "StartLimitIntervalSec", Value: Span(17600 * time.Millisecond)},
		{Section: "Unit", Key: "StartLimitBurst", Value: Count(16)},
		{Section: "Service", Key: "Type", Value: Word("exec")},
		{Section: "Service", Key: "User", Value: Word("deploy")},
		{Section: "Service", Key: "WorkingDirectory", Value: Path("/srv/shop")},
		{Section: "Service", Key: "Environment", Value: Assign{"NODE_APP_INSTANCE", "%i"}},
		{Section: "Service", Key: "ExecStart", Value: command},
		{Section: "Service", Key: "Restart", Value: Word("always")},
		{Section: "Service", Key: "RestartSec", Value: Span(100 * time.Millisecond)},
		{Section: "Service", Key: "SuccessExitStatus", Value: Words{"130", "143"}},
		{Section: "Service", Key: "StandardOutput", Value: Stream{"append", "/var/log/shop/web-out-%i.log"}},
		{Section: "Service", Key: "LogRateLimitBurst", Value: Count(4294967295)},
		{Section: "Service", Key: "LimitNOFILE", Value: Count(65536)},
		{Section: "Service", Key: "MemoryMax", Value: Bytes(300 << 20)},
		{Section: "Service", Key: "MemorySwapMax", Value: Bytes(0)},
		{Section: "Service", Key: "NoNewPrivileges", Value: Bool(true)},
		{Section: "Service", Key: "ProtectSystem", Value: Word("full")},
		{Section: "Install", Key: "WantedBy", Value: Words{"web.target"}},
	}}
	for i := range 18 {
		u.Directives = append(u.Directives, Directive{Section: "Service", Key: "Environment", Value: Assign{"VARIABLE_" + string(rune('A'+i)), "some value %%"}})
	}
	u.Sort()
	return u
}
