package native

import (
	"os/user"
	"slices"
	"strconv"
)

// People's accounts are not in the files there. Package os/user asks the system library,
// which does not tell of shells.
func (a *accounts) serviceUser(name string) (account, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return account{}, false
		}
	}
	return newAccount([]string{u.Username, "", u.Uid, u.Gid, "", u.HomeDir, "/bin/sh"})
}

func (a *accounts) serviceGroup(name string) (int, bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	gid, err := strconv.Atoi(g.Gid)
	return gid, err == nil
}

// serviceGroups returns those of the user's groups that known lacks.
func (a *accounts) serviceGroups(of account, known []int) []int {
	u, err := user.LookupId(strconv.Itoa(of.uid))
	if err != nil {
		return nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var more []int
	for _, id := range ids {
		if gid, err := strconv.Atoi(id); err == nil && !slices.Contains(known, gid) {
			more = append(more, gid)
		}
	}
	return more
}
