package golden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// vectorCount is how many random environments and argument vectors are run.
const vectorCount = 200

// bootBytes compares what processes got with what was declared, byte for byte.
func bootBytes(b *booted) {
	runVectors(b.newProject("bytes"))
}

// bootSecretBytes does the same for values that come from environment files.
func bootSecretBytes(b *booted) {
	p := b.newProject("secret-bytes")
	p.options.SecretFiles = true
	runVectors(p)
	info, err := os.Stat(b.hostPath("/etc/gm/secret-bytes/secret-bytes-0.env"))
	if err != nil || info.Mode().Perm() != 0o600 {
		p.t.Errorf("the environment file: %v, %v", info, err)
	}
}

// vector is one random app.
type vector struct {
	name      string
	args      []string
	env       map[string]string
	instances int
}

func runVectors(p *project) {
	rng := rand.New(rand.NewPCG(2, 200))
	vectors := make([]vector, vectorCount)
	apps := make([]map[string]any, vectorCount)
	for i := range vectors {
		v := randomVector(rng, fmt.Sprintf("%s-%d", p.name, i))
		vectors[i] = v
		apps[i] = map[string]any{
			"name": v.name, "script": "/share/probe", "interpreter": "none", "exec_mode": "fork",
			"args": append([]string{v.name}, v.args...), "env": v.env, "instances": v.instances, "autorestart": false,
		}
	}
	declaration, err := json.Marshal(apps)
	if err != nil {
		p.t.Fatal(err)
	}
	p.install(string(declaration))
	p.enable()
	p.Wait("every app to have written down its environment and arguments", func() bool {
		found, _ := filepath.Glob(filepath.Join(p.dir, "*.cmdline"))
		return len(found) >= instancesOf(vectors)
	})
	for _, v := range vectors {
		for i := range v.instances {
			checkVector(p, v, fmt.Sprintf("%s.%d.", v.name, i))
		}
	}
}

func instancesOf(vectors []vector) (n int) {
	for _, v := range vectors {
		n += v.instances
	}
	return n
}

func checkVector(p *project, v vector, file string) {
	p.t.Helper()
	got := strings.Split(strings.TrimSuffix(p.read(file+"cmdline"), "\x00"), "\x00")
	if want := append([]string{"/share/probe", v.name}, v.args...); !slices.Equal(got, want) {
		p.t.Errorf("%s got the arguments\n%.1000q, want\n%.1000q", v.name, got, want)
	}
	env := splitEnviron(p.read(file + "environ"))
	for name, want := range v.env {
		if got, ok := env[name]; got != want {
			p.t.Errorf("%s got %s=%.500q (%v), want %.500q", v.name, name, got, ok, want)
		}
	}
	for name := range env {
		if _, declared := v.env[name]; !declared && !slices.Contains(systemdEnv, name) && name != "NODE_APP_INSTANCE" {
			p.t.Errorf("%s got %s=%.500q, which was not declared", v.name, name, env[name])
		}
	}
}

// systemdEnv is what systemd itself sets (systemd.exec(5), ENVIRONMENT VARIABLES
// SET OR PROPAGATED BY THE SERVICE MANAGER).
var systemdEnv = []string{
	"PATH", "LANG", "HOME", "USER", "LOGNAME", "SHELL", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID",
	"MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE",
}

// pieces are what random values are made of: all that some grammar on the way
// (JSON, unit files, Exec lines, environment files, shells) gives a meaning.
var pieces = []string{
	`"`, `'`, "`", `\`, `\\`, `\"`, `\'`, `\n`, `\t`, `\x41`, `\u00e9`, `\101`, `\$`, `\;`, `\ `, "\\\n",
	"%", "%%", "%i", "%n", "%h", "%H", "%u00e9", "%d", "$", "$$", "$HOME", "${HOME}", "$(id)", "${", "$1",
	";", " ; ", "#", "!", "=", "&", "|", "<", ">", "*", "?", "~", "@", "-", "+", ":", ",", "{}", "[]", "()",
	" ", "  ", "\t", "\n", "\r", "\r\n", "\v", "\f", "\b", "\a", "\x01", "\x1b[0m", "\x1f", "\x7f",
	"é", "ß", "日本語", "🙂", "👩‍👩‍👧", "e\u0301", "\u00a0", "\u0085", "\u2028", "\ufeff", "\u202e", "\U0010fffd",
	"a", "b", "Z", "0", "9", "word", "A=B", "--flag=value", "/srv/my app", "C:\\dir\\", "null", "true", "# no comment",
}

// whole are values that are as a whole something to some grammar.
var whole = []string{
	"", " ", ";", `\;`, "\\", `"`, "'", "-", "@", "+", "!", "!!", ":", "|", "-/bin/true", "@/bin/true", "#", "; comment", "# comment",
	" leading", "trailing ", "\tleading tab", "trailing newline\n", "\n", "\r", `trailing\`, `trailing\\`, `"quoted"`, `'quoted'`, "it's", "%", "%%", "$", "$$",
	"infinity", "yes", "[Service]", "\n[Service]\nUser=nobody\n", "A=B", `A="B" C="D"`, "~", "*", "\x01", "\x7f", "\ufeff", "EOF",
}

func randomVector(rng *rand.Rand, name string) vector {
	v := vector{name: name, env: map[string]string{}, instances: 1}
	if rng.IntN(10) == 0 {
		v.instances = 2
	}
	for range rng.IntN(8) {
		v.args = append(v.args, randomText(rng))
	}
	for range 1 + rng.IntN(8) {
		v.env[randomName(rng)] = randomText(rng)
	}
	switch rng.IntN(100) {
	case 0, 1:
		v.env["LONG"] = longText(rng, 100_000)
	case 2, 3:
		v.args = append(v.args, longText(rng, 100_000))
	}
	return v
}

func randomText(rng *rand.Rand) string {
	switch rng.IntN(20) {
	case 0, 1, 2, 3:
		return whole[rng.IntN(len(whole))]
	case 4:
		return longText(rng, 2000)
	}
	var text strings.Builder
	for range 1 + rng.IntN(12) {
		text.WriteString(pieces[rng.IntN(len(pieces))])
	}
	return text.String()
}

// longText is about n bytes long.
func longText(rng *rand.Rand, n int) string {
	var text bytes.Buffer
	for text.Len() < n-20 {
		text.WriteString(pieces[rng.IntN(len(pieces))])
	}
	return text.String()
}

// randomName is a valid name of a variable, and not one that systemd sets.
func randomName(rng *rand.Rand) string {
	const first = "ABCXYZabcxyz_"
	const further = first + "0123456789"
	name := []byte{first[rng.IntN(len(first))], 'v'}
	for range rng.IntN(8) {
		name = append(name, further[rng.IntN(len(further))])
	}
	return string(name)
}

// bootPlaces runs programs in places with names that mean something to systemd
// or a shell, and a line that is one for a shell.
func bootPlaces(b *booted) {
	p := b.newProject("places")
	// Quotes and backslashes are for directories alone: systemd takes none in the
	// path of a program.
	const dir, quotedDir = "100%i of $HOME;", `it's "100%" \x41`
	program, err := os.ReadFile(b.hostPath("/share/probe"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(dir+"/my %n $probe;", string(program))
	p.write(dir+"/my %n app.sh", p.read("app.sh"))
	p.write(quotedDir+"/here", "")
	declaration, err := json.Marshal([]map[string]any{
		{"name": "place-of-program", "cwd": dir, "script": "my %n $probe;", "args": []string{"out"}, "autorestart": false},
		{"name": "place-of-script", "cwd": dir, "script": "my %n app.sh", "args": []string{"name with blank", "exit 0"}, "autorestart": false},
		{"name": "Naïve app: №1/%i", "cwd": quotedDir, "script": "/share/probe", "args": "named", "autorestart": false},
		{"name": "Zweite №2: x", "cwd": quotedDir, "script": "/share/probe", "args": "second", "instances": 2, "autorestart": false},
		{"name": "place-of-shell", "script": `echo "a  b" '%i' $MESSAGE ${MESSAGE} \$MESSAGE 'it''s' | tr a-z A-Z >shell.out`, "env": map[string]string{"MESSAGE": "hello"}, "autorestart": false},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.install(string(declaration))
	p.enable()
	p.awaitText("shell.out", "A  B %I HELLO HELLO $MESSAGE ITS\n")
	for _, file := range []string{dir + "/out.0.cmdline", dir + "/name with blank.starts", quotedDir + "/named.0.cmdline", quotedDir + "/second.1.cmdline"} {
		p.Wait(file, func() bool { return p.has(file) })
	}
	inside := "/share/places/" + dir
	if got, want := p.read(dir+"/out.0.cmdline"), inside+"/my %n $probe;\x00out\x00"; got != want {
		p.t.Errorf("the program was run as %q, want %q", got, want)
	}
}
