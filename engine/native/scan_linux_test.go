package native

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " 1 2 3 0 -1 4194304 100 0 0 0 11 7 1 2 20 0 5 0 123456 1000000 300 18446744073709551615 1 1 0 0 0 0 0\n"
	want := procStat{
		proc: proc{PID: 42, Start: 123456}, ppid: 1, group: 2, session: 3, threads: 5,
		cpu: int64(210 * time.Millisecond), rss: 300 * pageSize,
	}
	for name, line := range map[string]string{
		"plain": "42 (node) S" + rest, "blanks": "42 (a b c) S" + rest, "parentheses": "42 (a) S 9 (b)) S" + rest, "empty": "42 () S" + rest,
	} {
		if got, ok := parseStat([]byte(line)); !ok || got != want {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}
	zombie := want
	zombie.zombie = true
	if got, ok := parseStat([]byte("42 (node) Z" + rest)); !ok || got != zombie {
		t.Errorf("zombie: got %+v, %v", got, ok)
	}
	for _, line := range []string{"", "42", "42 (node", "42 (node)", "42 (node) ", "x y z"} {
		if got, ok := parseStat([]byte(line)); ok {
			t.Errorf("%q: got %+v", line, got)
		}
	}
}
