package native

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// systemd.unit(5), SPECIFIERS: those about the unit.
func TestSpecifiersOfUnits(t *testing.T) {
	const all = "%n|%N|%p|%P|%i|%I|%j|%J|%f|%%|%|%!|%~"
	dir := home(t, strings.ReplaceAll(`
-- web.service --
[Unit]
Description=ALL
-- my-shop\x2dapi.service --
[Unit]
Description=ALL
-- web-api@.service --
[Unit]
Description=ALL
`, "ALL", all))
	l := mustLoad(t, dir, false, nil)
	for unit, want := range map[string]string{
		"web.service":              "web.service|web|web|web|||web|web|/web|%|%|%!|%~",
		`my-shop\x2dapi.service`:   `my-shop\x2dapi.service|my-shop\x2dapi|my-shop\x2dapi|my/shop-api|||shop\x2dapi|shop-api|/my/shop-api|%|%|%!|%~`,
		"web-api@3.service":        "web-api@3.service|web-api@3|web-api|web/api|3|3|api|api|/3|%|%|%!|%~",
		`web-api@a-b\x20c.service`: `web-api@a-b\x20c.service|web-api@a-b\x20c|web-api|web/api|a-b\x20c|a/b c|api|api|/a/b c|%|%|%!|%~`,
		"web-api@-.service":        "web-api@-.service|web-api@-|web-api|web/api|-|/|api|api|/|%|%|%!|%~",
	} {
		if got := mustFind(t, l, unit).description; got != want {
			t.Errorf("%s:\n got %s\nwant %s", unit, got, want)
		}
	}
}

// Those about the places of the system and of a user.
func TestSpecifiersOfPlaces(t *testing.T) {
	own := t.TempDir()
	t.Setenv("HOME", own)
	dir := home(t, "-- a.service --\n[Unit]\nDescription=%t|%S|%C|%L|%E|%T|%V|%y|%Y\n")
	for _, test := range []struct {
		user bool
		want string
	}{
		{false, systemRun + "|/var/lib|/var/cache|/var/log|/etc|/tmp|/var/tmp|DIR/a.service|DIR"},
		{true, "RUN|HOME/.local/state|HOME/.cache|HOME/.local/state/log|HOME/.config|/tmp|/var/tmp|DIR/a.service|DIR"},
	} {
		want := strings.NewReplacer("HOME", own, "DIR", dir, "RUN", filepath.Join(filepath.Dir(dir), "run")).Replace(test.want)
		if got := mustFind(t, mustLoad(t, dir, test.user, nil), "a.service").description; got != want {
			t.Errorf("user %t:\n got %s\nwant %s", test.user, got, want)
		}
	}
}

// Those about the machine and the user of the supervisor, whatever User= says.
func TestSpecifiersOfTheMachine(t *testing.T) {
	dir := home(t, "-- a.service --\n[Unit]\nDescription=%U|%G|%h|%H|%l|%a|%v|%q\n[Service]\nUser=nobody\nExecStart=/bin/a\n")
	got := strings.Split(mustFind(t, mustLoad(t, dir, true, nil), "a.service").description, "|")
	host, _ := os.Hostname()
	short, _, _ := strings.Cut(host, ".")
	own, _ := os.UserHomeDir()
	for i, want := range []string{strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid()), own, host, short, architecture(), kernelRelease()} {
		if got[i] != want || want == "" {
			t.Errorf("specifier %d is %q, want %q", i, got[i], want)
		}
	}
}
