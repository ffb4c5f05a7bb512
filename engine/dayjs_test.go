package engine

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// TestFormatTime compares with what dayjs itself prints (testdata/dayjs.cjs).
func TestFormatTime(t *testing.T) {
	text, err := os.ReadFile("testdata/dayjs.json")
	if err != nil {
		t.Fatal(err)
	}
	var zones map[string][]struct {
		T         int64
		Formatted map[string]string
	}
	if err := json.Unmarshal(text, &zones); err != nil {
		t.Fatal(err)
	}
	if len(zones) == 0 {
		t.Fatal("no cases")
	}
	for name, moments := range zones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range moments {
			for layout, want := range m.Formatted {
				if got := FormatTime(time.UnixMilli(m.T).In(zone), layout); got != want {
					t.Errorf("%d in %s as %q: got %q, want %q", m.T, name, layout, got, want)
				}
			}
		}
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	near := time.Date(2026, 3, 1, 12, 0, 30, 0, zone)
	for _, test := range []struct {
		name, layout, text string
		want               string // RFC 3339, "" for none
		rest               string
	}{
		{"whole", "YYYY-MM-DD HH:mm:ss", "2026-02-28 23:59:59: text", "2026-02-28T23:59:59+02:00", ": text"},
		{"zone", "YYYY-MM-DDTHH:mm:ssZ", "2026-02-28T23:59:59-03:30x", "2026-02-28T23:59:59-03:30", "x"},
		{"zone without colon", "YYYY-MM-DDTHH:mm:ssZZ", "2026-02-28T23:59:59+0000", "2026-02-28T23:59:59Z", ""},
		{"milliseconds", "YYYYMMDDHHmmssSSS", "20260228235959042", "2026-02-28T23:59:59.042+02:00", ""},
		{"names", "dddd, MMMM D, YYYY h:mm A", "Saturday, February 28, 2026 12:05 AM: x", "2026-02-28T00:05:00+02:00", ": x"},
		{"noon", "YYYY-MM-DD hh:mm a", "2026-02-28 12:05 pm", "2026-02-28T12:05:00+02:00", ""},
		{"literals", "[at] YYYY-MM-DD [h]HH:mm", "at 2026-02-28 h10:05", "2026-02-28T10:05:00+02:00", ""},
		{"time of day before", "HH:mm:ss", "11:00:00", "2026-03-01T11:00:00+02:00", ""},
		{"time of day of yesterday", "HH:mm:ss", "13:00:00", "2026-02-28T13:00:00+02:00", ""},
		{"last year", "MM-DD HH:mm", "12-31 23:00", "2025-12-31T23:00:00+02:00", ""},
		{"another text", "YYYY-MM-DD HH:mm:ss", "Error: no", "", ""},
		{"cut short", "YYYY-MM-DD HH:mm:ss", "2026-02-28 23:5", "", ""},
		{"no such month", "YYYY-MM-DD HH:mm", "2026-13-28 23:59", "", ""},
		{"ambiguous hour", "YYYY-MM-DD hh:mm", "2026-02-28 11:59", "", ""},
		{"no time of day", "YYYY-MM-DD", "2026-02-28", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, rest, ok := ParseTime(test.text, test.layout, near)
			if !ok {
				if test.want != "" {
					t.Fatalf("not understood, want %s", test.want)
				}
				return
			}
			want, err := time.Parse(time.RFC3339Nano, test.want)
			if err != nil || !got.Equal(want) || rest != test.rest {
				t.Errorf("got %s and %q, want %s and %q", got, rest, test.want, test.rest)
			}
		})
	}
}

// TestParseFormatted undoes FormatTime for the formats that people use.
func TestParseFormatted(t *testing.T) {
	for _, layout := range []string{
		"", "YYYY-MM-DD HH:mm:ss", "YYYY-MM-DD HH:mm:ss Z", "YYYY-MM-DDTHH:mm:ss", "DD.MM.YYYY H:m:s",
		"MMM D, YYYY h:mm:ss A", "ddd MMM DD YYYY hh:mm:ss a ZZ", "YY-MM-DD HH:mm:ss", "HH:mm:ss",
	} {
		for hour := range 48 {
			want := time.Date(2026, 11, 23, 0, 59, 7, 0, time.UTC).Add(time.Duration(hour) * time.Hour)
			got, rest, ok := ParseTime(FormatTime(want, layout)+": x", layout, want)
			if !ok || !got.Equal(want) || rest != ": x" {
				t.Errorf("%q: %s became %s, %q, %v", layout, want, got, rest, ok)
			}
		}
	}
}
