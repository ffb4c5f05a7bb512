package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func selectable(t *testing.T) []App {
	t.Helper()
	return Apps(compileSet(t, declared(
		web, worker,
		`{"name": "api", "script": "a.js", "namespace": "back"}`,
		`{"name": "web-admin", "script": "a.js", "namespace": "back"}`,
		`{"name": "7", "script": "a.js"}`,
		`{"name": "back@office", "script": "a.js"}`,
		`{"name": "pool", "script": "a.js", "namespace": "worker", "instances": 2}`,
	)))
}

func TestSelect(t *testing.T) {
	apps := selectable(t)
	for _, c := range []struct{ selectors, want string }{
		{"all", "7 api back@office pool web web-admin worker"},
		{"web", "web"},
		{"7", "7"},
		{"web@2", "web[web@2.service]"},
		{"web@2 web@0 web@2", "web[web@2.service web@0.service]"},
		{"web@2 web", "web"},
		{"web web@2", "web"},
		{"back@office", "back@office"},
		{"back", "api web-admin"},
		{"default", "7 back@office web worker"},
		{"worker", "worker"}, // the app rather than the namespace
		{"/^web/", "web web-admin"},
		{"/o/ web", "back@office pool web worker"},
		{"worker api", "api worker"},
		{"", ""},
	} {
		list, err := Select(apps, strings.Fields(c.selectors))
		if err != nil {
			t.Errorf("%s: %v", c.selectors, err)
			continue
		}
		var got []string
		for _, s := range list {
			name := s.App.Name
			if !s.Whole {
				name += "[" + strings.Join(s.Units, " ") + "]"
			} else if !slices.Equal(s.Units, s.App.Instances) {
				t.Errorf("%s: the units of %s are %v", c.selectors, name, s.Units)
			}
			got = append(got, name)
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%q selects %q, want %q", c.selectors, got, c.want)
		}
	}
	if list, err := Select(nil, []string{"all"}); err != nil || len(list) > 0 {
		t.Errorf("all of nothing: %v, %v", list, err)
	}
}

func TestSelectFindsNothing(t *testing.T) {
	apps := selectable(t)
	for _, c := range []struct{ selector, near string }{
		{"wrker", "worker"},
		{"WEB", "web web-admin"},
		{"admin", "web-admin"},
		{"web@9", "web@0 web@1 web@2"},
		{"worker@0", "worker"}, // one service has no instances
		{"baack", "back"},
		{"0", ""}, // PM2's ids are none here
		{"mysql", ""},
		{"", ""},
		{"/^x/", ""},
	} {
		_, err := Select(apps, []string{"web", c.selector})
		var none *NoSuchApp
		if !errors.As(err, &none) {
			t.Errorf("%s: %v", c.selector, err)
			continue
		}
		if none.Selector != c.selector || strings.Join(none.Near, " ") != c.near {
			t.Errorf("%s: near %q, want %q", c.selector, none.Near, c.near)
		}
		if c.selector == "" && err.Error() != `there is no app ""` {
			t.Errorf("of an empty selector it says %q", err)
		}
	}
}

func TestSelectBadExpression(t *testing.T) {
	for selector, want := range map[string]string{
		"/web[a/":  "the selector /web[a/ is no regular expression: missing closing ] in column 5: [a",
		"/a(?=b)/": "the selector /a(?=b)/ is no regular expression: invalid or unsupported Perl syntax in column 3: (?=",
		"/*/":      "the selector /*/ is no regular expression: missing argument to repetition operator in column 2: *",
	} {
		_, err := Select(selectable(t), []string{selector})
		var bad *BadSelector
		if !errors.As(err, &bad) || err.Error() != want {
			t.Errorf("%s: %v, want %s", selector, err, want)
		}
	}
}
