package translate

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tailscale/hujson"

	"gm/diag"
)

// compileSchema compiles the schema, or a part of it ("#/$defs/code").
func compileSchema(t *testing.T, part string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatalf("the schema is no JSON: %v", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaID, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(schemaID + part)
	if err != nil {
		t.Fatalf("the schema is invalid: %v", err)
	}
	return schema
}

// valid reports whether JSON text passes the schema.
func valid(t *testing.T, schema *jsonschema.Schema, text string) error {
	t.Helper()
	standard, err := hujson.Standardize([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(standard))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return schema.Validate(v)
}

func TestSchemaIsStable(t *testing.T) {
	first := Schema()
	for range 5 {
		if !bytes.Equal(Schema(), first) {
			t.Fatal("two calls gave different schemas")
		}
	}
	if strings.Contains(string(first), `\u003c`) {
		t.Error("the schema escapes characters that JSON lets stand")
	}
}

func TestSchemaAcceptsTheSeed(t *testing.T) {
	seed, err := os.ReadFile("../examples/seed/processes.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := valid(t, compileSchema(t, ""), string(seed)); err != nil {
		t.Error(err)
	}
}

func TestSchemaAcceptsEveryExample(t *testing.T) {
	schema := compileSchema(t, "")
	for _, topic := range topics() {
		if topic.example == "" {
			continue
		}
		if err := valid(t, schema, "["+topic.app(topic.example)+"]"); err != nil {
			t.Errorf("%s: %v", topic.name, err)
		}
	}
}

func TestSchemaKnowsTheShapes(t *testing.T) {
	schema := compileSchema(t, "")
	const app = `{"script": "a.js"}`
	for _, text := range []string{
		`[` + app + `]`, `[` + app + `, {"script": "b.js"}]`, app,
		`{"apps": [` + app + `]}`, `{"apps": ` + app + `}`, `{"apps": []}`, `{"pm2": [` + app + `]}`, `{"pm2": ` + app + `}`,
		`{"apps": null, "pm2": [` + app + `]}`,
		`{"apps": [` + app + `], "deploy": {"production": {"host": ["a"], "ref": "origin/main"}}}`,
		`{"apps": [` + app + `], "static": [{"port": 8080, "path": "."}]}`,
		`{"deploy": {}}`,
		`{"$schema": "gm.schema.json", "apps": [` + app + `]}`, `{"$schema": "gm.schema.json", "script": "a.js"}`,
	} {
		if err := valid(t, schema, text); err != nil {
			t.Errorf("%s is refused: %v", text, err)
		}
		list := compileText(text)
		if list.HasErrors() || strings.Contains(text, schemaKey) && len(list) > 0 {
			t.Errorf("%s: the schema takes it, the compiler does not: %v", text, list)
		}
	}
	for _, text := range []string{
		`[]`, `{}`, `"a.js"`, `3`, `null`, `[3]`, `["a.js"]`, `[[]]`, `{"apps": "a.js"}`, `{"apps": ["a.js"]}`, `{"apps": [{}]}`,
		`[{"name": "a"}]`, `[{"script": null}]`, `[{"script": ""}]`, `[{"script": " "}]`, `{"agents": []}`,
	} {
		if valid(t, schema, text) == nil {
			t.Errorf("%s is accepted", text)
		}
		if list := compileText(text); !list.HasErrors() {
			t.Errorf("%s: the schema refuses it, the compiler does not", text)
		}
	}
	for _, text := range []string{ // a misspelt key is a warning to gm
		`{"apps": [` + app + `], "version": 2}`, `{"script": "a.js", "max_restart": 3}`, `[{"script": "a.js", "Name": "a"}]`,
	} {
		if valid(t, schema, text) == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

func compileText(text string) diag.List {
	_, list := Compile(diag.NewSource("processes.json", []byte(text)), Options{Host: exampleHost(explainSystemd)})
	return list
}

// What PM2 7.0.4 takes for each key, and what it refuses; and what gm takes on
// top ("1.5G", an exit code as text). The compiler must agree.
func TestSchemaKnowsTheValues(t *testing.T) {
	schema := compileSchema(t, "")
	for _, test := range []struct{ key, accepted, refused string }{
		{"append_env_to_name", `true, false, null`, `1, "true"`},
		{"args", `"--port 3000", ["--port", 3000, true], [], null`, `3, {}, [["a"]]`},
		{"autorestart", `true, false, null`, `"true", 0, 1`},
		{"cron_restart", `"0 3 * * *", "0", 0, "", false, null`, `5, true, []`},
		{"cron", `"0 3 * * *"`, `5`},
		{"cwd", `"/srv", ".", null`, `5, true, []`},
		{"env", `{}, {"A": 1, "B": "2", "C": true, "D": null, "E": {"F": [1]}}, null`, `"A=1", 3, []`},
		{"env_production", `{"A": 1}, null`, `3, []`},
		{"env_", `{}`, `3`},
		{"error_file", `"/dev/null", "NULL", "err.log", null`, `true, 3`},
		{"exec_interpreter", `"none", "python3", null`, `3, true`},
		{"exec_mode", `"fork", "cluster", "fork_mode", "cluster_mode", null`, `"Cluster", "", true, 1`},
		{"filter_env", `true, false, ["A"], "A", [""], null`, `3, {}`},
		{"gid", `"www-data", 33, null`, `true, [], -1`},
		{"ignore_watch", `["node_modules", "*.log"], "logs", null`, `true, 3, {}`},
		{"instances", `"max", 0, -1, 4, "4", "-1", 1.5, null`, `"abc", true, {}, "all"`},
		{"kill_timeout", `4000, "4000", 0, null`, `"3s", true, -1, {}`},
		{"listen_timeout", `3000, "3000"`, `"3s"`},
		{"log_file", `true, false, "all.log", null`, `3, []`},
		{"log_type", `"json", null`, `"xml", true`},
		{"max_memory_restart", `"150M", "1G", "10K", 157286400, "157286400", "1.5G", "500mb", null`, `"1.5X", "M", true, "", 0, {}`},
		{"max_restarts", `0, 16, "16", null`, `"many", -1, true`},
		{"merge_logs", `true, false, null`, `"yes", 1`},
		{"min_uptime", `1000, "2m", "10s", "1h", "0s", "5000", null`, `"1d", "s", 99, "99", true`},
		{"name", `"api", null`, `5, true, ["a"]`},
		{"node_args", `"--inspect", ["--inspect"], null`, `3`},
		{"interpreterArgs", `"--inspect"`, `3`},
		{"out_file", `"out.log", "NULL", null`, `true`},
		{"pmx", `true, false, "false", null`, `3`},
		{"port", `"9001", 9001, null`, `"http", 70000, "70000", -1, true`},
		{"post_update", `["npm ci"], "npm ci", [], null`, `3, {}`},
		{"restart_delay", `0, 4000, "4000", null`, `"4s", true`},
		{"stop_exit_codes", `0, [0], [0, 12], ["12"], [], null`, `"0 1", 256, -1, [256], true`},
		{"systemd", `{}, {"listen": 3000}, {"listen": ["127.0.0.1:3000", 80]}, {"hardening": "basic"}, null,
			{"service": {"Nice": 5, "LimitNOFILE": "65536", "Environment": ["A=1", "B=2"]}, "unit": null}`,
			`[], {"lsten": 3000}, {"listen": 1.5}, {"hardening": "max"}, {"pm2_env": "yes"}, {"service": {"Nice": {}}}, {"depends_on": 3}`},
		{"treekill", `true, false, null`, `"false"`},
		{"uid", `"root", 0, 1000, null`, `true, 1.5, []`},
		{"wait_ready", `true, false, null`, `"true", 1`},
		{"watch", `true, false, "src", ["src", "lib/*.js"], [], null`, `3, [3], {}, "true"`},
		{"watch_delay", `1000, null`, `"1s"`},
		{"watch_options", `{"usePolling": true}, null`, `[], true`},
		{"max_restart", ``, `3`},
		{"Script", ``, `"a.js"`},
		{"environment", ``, `{}`},
	} {
		for _, text := range elements(t, test.accepted) {
			app := `[{"script": "a.js", "` + test.key + `": ` + text + `}]`
			if err := valid(t, schema, app); err != nil {
				t.Errorf("%s: the schema refuses %s: %v", test.key, text, err)
			}
			if list := compileText(app); list.HasErrors() {
				t.Errorf("%s: the compiler refuses %s: %v", test.key, text, list)
			}
		}
		for _, text := range elements(t, test.refused) {
			app := `[{"script": "a.js", "` + test.key + `": ` + text + `}]`
			if valid(t, schema, app) == nil {
				t.Errorf("%s: the schema takes %s", test.key, text)
			}
			if list := compileText(app).Strict(); !list.HasErrors() {
				t.Errorf("%s: the compiler takes %s", test.key, text)
			}
		}
	}
}

// elements returns the JSON texts of a list without its brackets.
func elements(t *testing.T, list string) []string {
	t.Helper()
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte("["+list+"]"), &raw); err != nil {
		t.Fatalf("%s: %v", list, err)
	}
	out := make([]string, len(raw))
	for i := range raw {
		out[i] = string(raw[i])
	}
	return out
}

// typeCorpus is every sort of value that one of the types takes or refuses.
const typeCorpus = `null, true, false, 0, 1, -1, 2, 5, 99, 100, 255, 256, 1.5, 2.7, 65535, 65536, 3000000000, 1e14, 1e15, -0.5, 1e-3,
	"", " ", "0", "1", "-1", "+1", "5", "99", "100", "255", "256", "1.5", "1e3", "1e400", "-5", " 5 ", "0x10", "5.", ".5", "1e", "1 2", "007",
	"max", "MAX", "Max", " max ", "abc", "true", "false", "a b", "5s", "5ms", "10s", "2m", "1h", "0s", "1d", "s", "m", "1.5s", "-1s", "5 s",
	"150M", "150m", "1G", "10K", "10k", "1.5G", "500mb", "500MB", "512MiB", "1GiB", "1B", "100b", "B", "M", "1.5X", "1..5M", "1T", "0M", "-1M", "1 M", ".5G", "5.G",
	"fork", "cluster", "fork_mode", "cluster_mode", "Cluster", "clusters", "json", "raw", "JSON", "/a/b.js", "NULL", "a,b", "0 3 * * *",
	[], [0], [5], [256], [1.5], ["5"], ["a"], ["a", "b"], [1, 2], [true], [null], [[]], [[5]], [{}], ["a", null], [0, "42"],
	{}, {"A": 1}, {"A": {"B": null}}, {"apps": []}`

// stricter says where the schema refuses on purpose what PM2 and gm take.
func stricter(text string) bool {
	switch {
	case strings.HasPrefix(text, "[") && strings.Contains(text, "null"):
		return true // the argument "null" is surely a mistake
	case strings.HasPrefix(text, "["):
		return !strings.Contains(text, ",") // [5] is 5 to parseFloat
	}
	// Digits in other notations than the plain one, and blanks around them.
	return slices.Contains([]string{`"+1"`, `"1e3"`, `" 5 "`, `"5."`, `".5"`, `".5G"`, `"5.G"`, `"1.5"`, `"Max"`, `" max "`}, text)
}

// The schema and the check of a type give the same verdict on every value.
func TestSchemaAgreesWithTheTypes(t *testing.T) {
	values := elements(t, typeCorpus)
	done := map[string]bool{}
	for _, f := range Fields() {
		if done[f.Type.Label+f.Type.Schema] || f.Name == envPattern || f.Name == "systemd" {
			continue // systemd's keys are checked when they are lowered
		}
		done[f.Type.Label+f.Type.Schema] = true
		schema := compileSchema(t, "#/$defs/app/properties/"+f.Name)
		for _, text := range values {
			if text == "null" {
				continue // not given
			}
			taken := f.Type.read(parseValue(t, text), &arg{}) == nil
			passed := valid(t, schema, text) == nil
			if taken == passed || taken && stricter(text) {
				continue
			}
			t.Errorf("%s (%s): %s: the compiler takes it: %v, the schema: %v", f.Type.Label, f.Name, text, taken, passed)
		}
	}
}
