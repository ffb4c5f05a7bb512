package translate

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestExplainKnowsEverySpelling(t *testing.T) {
	for _, f := range Fields() {
		want, ok := Explain(f.Name)
		if !ok {
			t.Errorf("%s is not explained", f.Name)
		}
		for _, spelling := range f.spellings() {
			if got, ok := Explain(spelling); !ok || got != want {
				t.Errorf("%s is not explained as %s is", spelling, f.Name)
			}
		}
	}
	for key, name := range map[string]string{
		"env_production":  "env_*",
		"restart-delay":   "restart_delay",
		"--restart-delay": "restart_delay",
		"systemd.listen":  "systemd.listen",
		"apps":            "apps",
		"pm2":             "pm2",
		"deploy":          "deploy",
		"static":          "static",
		"bad-cron":        "bad-cron",
	} {
		text, ok := Explain(key)
		if first, _, _ := strings.Cut(text, "\n"); !ok || first != name {
			t.Errorf("%s: got %q, want %q", key, first, name)
		}
	}
	for _, unknown := range []string{"", "restart_dely", "systemd.lsten", "systemd."} {
		if text, ok := Explain(unknown); ok {
			t.Errorf("%q is explained: %s", unknown, text)
		}
	}
}

// The whole page of one key: what gm explain prints.
func TestExplainRestartDelay(t *testing.T) {
	const want = `restart_delay
    also written  restartDelay
    type          number of milliseconds
    default       none
    decided with  autorestart

    Pause before an automatic restart.

Example
    "restart_delay": 4000

Becomes
    app.service
      [Unit]
    - StartLimitIntervalSec=17s 600ms
    + StartLimitIntervalSec=1min 20s
      [Service]
    - RestartSec=100ms
    + RestartSec=4s

PM2 differs
    Without it there is a pause of 100 ms, so that a crash loop does not take a CPU; 0 means
    none.
`
	got, _ := Explain("restart_delay")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Where systemd 252 and 257 get other directives, both are shown.
func TestExplainShowsTheOlderSystemd(t *testing.T) {
	text, _ := Explain("exp_backoff_restart_delay")
	for _, part := range []string{"on systemd 257", "+ RestartSteps=13", "on systemd 252", "+ RestartSec=1s 225ms"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

func TestExplainShowsNewUnitsWhole(t *testing.T) {
	text, _ := Explain("watch")
	if !strings.Contains(text, "app-watch.service (new)\n      [Unit]\n    + Description=") {
		t.Errorf("the watch companion is missing in:\n%s", text)
	}
	for _, noise := range []string{"SourcePath", "Hash=", "X-Gm"} {
		if strings.Contains(text, noise) {
			t.Errorf("%s is of no interest in:\n%s", noise, text)
		}
	}
	text, _ = Explain("instances")
	if !strings.Contains(text, "app.service becomes app@.service\n") {
		t.Errorf("the template is no change of the service in:\n%s", text)
	}
}

func TestExplainSaysWhatHasNoEffect(t *testing.T) {
	for _, f := range Fields() {
		text, _ := Explain(f.Name)
		if got, want := strings.Contains(text, "\nNo effect\n"), f.Drop != ""; got != want {
			t.Errorf("%s: no effect: got %v, want %v", f.Name, got, want)
		}
		if strings.Contains(text, "\nBecomes\n\n") {
			t.Errorf("%s becomes nothing:\n%s", f.Name, text)
		}
	}
}

// Prose is wrapped; directives and examples are as long as they are.
func TestExplainFitsTheTerminal(t *testing.T) {
	for _, topic := range topics() {
		text, _ := Explain(topic.name)
		for _, line := range strings.Split(text, "\n") {
			trimmed := strings.TrimSpace(line)
			verbatim := strings.HasPrefix(trimmed, "+ ") || strings.HasPrefix(trimmed, "- ") || strings.HasPrefix(trimmed, `"`)
			if utf8.RuneCountInString(line) > 100 && !verbatim {
				t.Errorf("%s: %d characters: %s", topic.name, utf8.RuneCountInString(line), line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%s: a blank ends the line %q", topic.name, line)
			}
		}
	}
	for _, line := range strings.Split(ExplainAll(), "\n") {
		if utf8.RuneCountInString(line) > 100 {
			t.Errorf("the list: %d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
}

func TestExplainAllListsEveryKeyOnce(t *testing.T) {
	listed := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(ExplainAll()), "\n") {
		listed[strings.Fields(line)[0]]++
	}
	for _, topic := range topics() {
		if listed[topic.name] != 1 {
			t.Errorf("%s is listed %d times", topic.name, listed[topic.name])
		}
	}
	if len(listed) != len(topics()) {
		t.Errorf("%d lines for %d keys", len(listed), len(topics()))
	}
}

func TestSuggest(t *testing.T) {
	for text, want := range map[string]string{
		"restart_dely":  "restart_delay",
		"max_restart":   "max_restarts",
		"Script":        "script",
		"max-memory":    "",
		"systemd.lsten": "systemd.listen",
		"aps":           "apps",
		"zzzzzzzz":      "",
	} {
		if got := Suggest(text); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, []string{""}},
		{"one", 10, []string{"one"}},
		{"one two three", 7, []string{"one two", "three"}},
		{"one two", 6, []string{"one", "two"}},
		{"a incomprehensible b", 5, []string{"a", "incomprehensible", "b"}},
		{"é é é", 3, []string{"é é", "é"}},
	} {
		if diff := cmp.Diff(test.want, wrap(test.text, test.width)); diff != "" {
			t.Errorf("wrap(%q, %d): (-want +got)\n%s", test.text, test.width, diff)
		}
	}
}
