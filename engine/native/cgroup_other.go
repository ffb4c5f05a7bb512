//go:build !linux

package native

import "errors"

// groups are control groups, which this system lacks.
type groups struct {
	base            string
	limits, refused bool
}

var errNoGroups = errors.New("there are no control groups")

func openGroups(Home) *groups { return &groups{} }

func (g *groups) close() {}

func (g *groups) make(*definition) (dir string, limited bool, err error) {
	return "", false, errNoGroups
}

func (g *groups) of(int, string) string { return "" }

func enforces(string) bool            { return false }
func removeGroup(string) error        { return nil }
func oomKills(string) int64           { return 0 }
func groupUsage(string) (usage, bool) { return usage{}, false }
func groupMembers(string) []int       { return nil }
func killGroup(string) error          { return errNoGroups }
func openGroup(string) (int, error)   { return -1, errNoGroups }
