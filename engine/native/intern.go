package native

import (
	"slices"
	"strings"
)

// interner shares what many units have in common. It lives as long as a load does.
type interner struct {
	strings map[string]string
	slices  map[string][]string
	sets    map[string]exitSet
	// frozen ones take nothing new.
	frozen bool
}

func newInterner() *interner {
	return &interner{strings: map[string]string{}, slices: map[string][]string{}, sets: map[string]exitSet{}}
}

// intern returns s without the text that it may be a part of.
func (in *interner) intern(s string) string {
	if s == "" {
		return ""
	}
	if shared, ok := in.strings[s]; ok {
		return shared
	}
	s = strings.Clone(s)
	if !in.frozen {
		in.strings[s] = s
	}
	return s
}

func (in *interner) list(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	if len(words) > 64 {
		return slices.Clip(words) // of one unit alone
	}
	key := strings.Join(words, "\x00")
	if shared, ok := in.slices[key]; ok {
		return shared
	}
	words = slices.Clip(words)
	for i, word := range words {
		words[i] = in.intern(word)
	}
	if !in.frozen {
		in.slices[key] = words
	}
	return words
}
