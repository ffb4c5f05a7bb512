package units

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"gm/diag"
)

func TestSetCheck(t *testing.T) {
	src := diag.NewSource("ecosystem.json", []byte("restart_delay\n"))
	set := Set{
		{"a.env", []Directive{{Key: "RestartSteps", Value: FileAssign("1")}}},
		{"a.service", []Directive{
			{Section: "Service", Key: "RestartSteps", Value: Count(3), From: src.Range(0, 13)},
			{Section: "Service", Key: "Restrat", Value: Raw("always")},
			{Section: "Service", Key: "X-Note", Value: Raw("x")},
			{Section: "X-Other", Key: "RestartSteps", Value: Raw("x")},
		}},
	}
	unknown := "gm: warning: a.service: Restrat= is no directive of [Service] that gm knows [unknown-directive]\n\tfix: did you mean Restart=?\n"
	tooNew := "ecosystem.json:1:1: warning: a.service: RestartSteps= needs systemd 254 and the target has 252, which ignores it [directive-too-new]\n"
	for version, want := range map[int]string{0: unknown, 252: tooNew + unknown, 254: unknown} {
		if diff := cmp.Diff(want, problems(set.Check(version))); diff != "" {
			t.Errorf("Check(%d) (-want +got):\n%s", version, diff)
		}
	}
}

func TestStream(t *testing.T) {
	set := Set{
		{"a.env", []Directive{{Key: "A", Value: FileAssign("x\n-- b.service --\n-- y")}}},
		{"a.service", testUnit(t).Directives},
		{"a@0.service.d/10-gm.conf", []Directive{{Section: "Service", Key: "Environment", Value: Assign{"PORT", "3000"}}}},
	}
	var stream bytes.Buffer
	if err := WriteStream(&stream, set); err != nil {
		t.Fatal(err)
	}
	got, list := ReadStream(diag.NewSource("stream", stream.Bytes()))
	if diff := cmp.Diff(set, got, sameUnit); diff != "" || len(list) > 0 {
		t.Errorf("ReadStream(WriteStream(set)) (-want +got):\n%s%s", diff, problems(list))
	}
	archive := txtar.Parse(stream.Bytes())
	if len(archive.Files) != len(set) {
		t.Fatalf("txtar finds %d files, want %d:\n%s", len(archive.Files), len(set), &stream)
	}
	for i, f := range archive.Files {
		if f.Name != set[i].Name || !bytes.Equal(f.Data, Render(set[i])) {
			t.Errorf("file %d is for txtar %q:\n%s", i, f.Name, f.Data)
		}
	}
}

func TestReadStreamReports(t *testing.T) {
	text := `what gm gen wrote
-- b.service --
[Service]
User=a b
-- a.service --
-- b.service --
-- ../../etc/passwd --
[Service]
User=x
`
	set, list := ReadStream(diag.NewSource("stream", []byte(text)))
	want := `stream:4:6: error: User: "a b" holds a blank; one word is expected [bad-directive]
stream:6:1: error: b.service is in the stream twice [bad-stream]
stream:7:1: error: "../../etc/passwd" is no file of gm's; a drop-in is called UNIT.d/NAME.conf [bad-stream]
`
	list.Sort()
	if diff := cmp.Diff(want, problems(list)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	var names []string
	for _, u := range set {
		names = append(names, u.Name)
	}
	if diff := cmp.Diff([]string{"a.service", "b.service"}, names); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	if _, list := ReadStream(diag.NewSource("stream", []byte("\n"))); !list.HasErrors() {
		t.Error("an empty stream is not refused")
	}
}

func TestSetFind(t *testing.T) {
	set := Set{{Name: "b.service"}, {Name: "a.service"}}
	set.Sort()
	if u, ok := set.Find("b.service"); !ok || u.Name != "b.service" {
		t.Errorf("Find(b.service) = %v, %v", u, ok)
	}
	if u, ok := set.Find("c.service"); ok {
		t.Errorf("Find(c.service) = %v", u)
	}
}

func TestSeal(t *testing.T) {
	notes := testUnit(t)
	notes.Directives = append(notes.Directives, Directive{Section: markSection, Key: "LogType", Value: Word("json")})
	env := Unit{"a.env", []Directive{{Key: "A", Value: FileAssign("1")}}}
	for name, u := range map[string]Unit{"unit": testUnit(t), "unit with notes": notes, "environment file": env} {
		t.Run(name, func(t *testing.T) {
			want := Mark{Project: "my shop 100%", App: "web"}
			sealed := Seal(u, want.Project, want.App)
			mark, ok := sealed.Mark()
			want.Hash = mark.Hash
			if !ok || mark != want || len(mark.Hash) != 16 {
				t.Errorf("Mark = %+v, %v, want %+v", mark, ok, want)
			}
			if again := Seal(sealed, want.Project, want.App); cmp.Diff(sealed, again, sameUnit) != "" {
				t.Errorf("sealed twice it is:\n%s", Render(again))
			}
			text := Render(sealed)
			if mark, pristine, ok := Sealed(text); mark != want || !pristine || !ok {
				t.Errorf("Sealed = %+v, %v, %v of:\n%s", mark, pristine, ok, text)
			}
			for _, edited := range [][]byte{append(text, '\n'), bytes.Replace(text, []byte("A"), []byte("B"), 1), bytes.Replace(text, []byte("shop"), []byte("shed"), 1)} {
				if mark, pristine, ok := Sealed(edited); pristine || !ok || mark.Hash != want.Hash {
					t.Errorf("Sealed = %+v, %v, %v of the edited:\n%s", mark, pristine, ok, edited)
				}
			}
			if mark, _, ok := Sealed(Render(u)); ok {
				t.Errorf("Sealed = %+v of the unsealed", mark)
			}
		})
	}
}

func TestSealShowsWhoseItIs(t *testing.T) {
	env := Seal(Unit{"a.env", []Directive{{Key: "A", Value: FileAssign("1")}}}, "shop", "web api")
	want := `# X-Gm: Project=shop
# X-Gm: App=web api
# X-Gm: Hash=` + hashOf([]byte("# X-Gm: Project=shop\n# X-Gm: App=web api\nA=1\n")) + `
A=1
`
	if diff := cmp.Diff(want, string(Render(env))); diff != "" {
		t.Errorf("environment file (-want +got):\n%s", diff)
	}
	// A name that no line can carry does not become another app's.
	a, _ := Seal(env, "shop", "a\nb").Mark()
	b, _ := Seal(env, "shop", "ab").Mark()
	if a.App == b.App {
		t.Errorf("both are marked %q", a.App)
	}
}

func TestSealedIgnoresOthers(t *testing.T) {
	for _, text := range []string{"", "[Unit]\nDescription=x\n", "[X-Gm]\n", "[X-Gm]\nProject=a\n", "[X-Gm]\nHash=\n", "[X-Gm]", "# X-Gm: \n"} {
		if mark, pristine, ok := Sealed([]byte(text)); ok || pristine {
			t.Errorf("Sealed(%q) = %+v, %v, %v", text, mark, pristine, ok)
		}
	}
}
