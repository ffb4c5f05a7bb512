package diag

import "testing"

func TestEdits(t *testing.T) {
	for _, test := range []struct {
		a, b  string
		limit int
		want  int
	}{
		{"", "", 3, 0},
		{"abc", "abc", 3, 0},
		{"abc", "abd", 3, 1},
		{"abc", "acb", 3, 1}, // a swap is one
		{"abc", "ab", 3, 1},
		{"abc", "xabc", 3, 1},
		{"kitten", "sitting", 3, 3},
		{"abc", "xyz", 3, 3},
		{"abcdef", "a", 3, 4}, // above the limit
		{"ab", "", 3, 2},
	} {
		if got := Edits(test.a, test.b, test.limit); got != test.want {
			t.Errorf("Edits(%q, %q, %d) = %d, want %d", test.a, test.b, test.limit, got, test.want)
		}
		if got := Edits(test.b, test.a, test.limit); got != test.want {
			t.Errorf("Edits(%q, %q, %d) = %d, want %d", test.b, test.a, test.limit, got, test.want)
		}
	}
}
