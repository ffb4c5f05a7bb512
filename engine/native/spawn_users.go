package native

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// account is a user of the machine: passwd(5).
type account struct {
	name, home, shell string
	uid, gid          int
}

// accounts looks users and groups up in files that are read again when they have changed.
// Names that only a directory service knows are not found: gm is one static program, which
// has no part of the C library that would ask it.
type accounts struct {
	passwd, group database
}

func newAccounts() accounts {
	return accounts{passwd: database{path: "/etc/passwd"}, group: database{path: "/etc/group"}}
}

// database is one of the files, in fields.
type database struct {
	path    string
	changed time.Time
	size    int64
	lines   [][]string
}

// read returns the file's lines that have at least so many fields.
func (d *database) read(fields int) [][]string {
	info, err := os.Stat(d.path)
	if err != nil {
		return nil
	}
	if d.lines != nil && info.ModTime().Equal(d.changed) && info.Size() == d.size {
		return d.lines
	}
	text, err := os.ReadFile(d.path)
	if err != nil {
		return nil
	}
	d.changed, d.size, d.lines = info.ModTime(), info.Size(), [][]string{}
	for line := range bytes.Lines(text) {
		if all := strings.Split(strings.TrimSuffix(string(line), "\n"), ":"); len(all) >= fields && all[0] != "" {
			d.lines = append(d.lines, all)
		}
	}
	return d.lines
}

// user finds a user by name, or by number if no name is so.
func (a *accounts) user(name string) (account, bool) {
	var byNumber []string
	for _, f := range a.passwd.read(7) {
		switch {
		case f[0] == name:
			return newAccount(f)
		case byNumber == nil && f[2] == name:
			byNumber = f
		}
	}
	if byNumber == nil {
		return a.serviceUser(name)
	}
	return newAccount(byNumber)
}

func newAccount(f []string) (account, bool) {
	uid, err1 := strconv.ParseUint(f[2], 10, 32)
	gid, err2 := strconv.ParseUint(f[3], 10, 32)
	return account{f[0], f[5], f[6], int(uid), int(gid)}, err1 == nil && err2 == nil
}

// groupID finds a group by name or number. Unlike a user a group needs no entry, as
// systemd has it: nothing else is taken from there.
func (a *accounts) groupID(name string) (int, bool) {
	for _, f := range a.group.read(3) {
		if f[0] == name {
			gid, err := strconv.ParseUint(f[2], 10, 32)
			return int(gid), err == nil
		}
	}
	if gid, err := strconv.ParseUint(name, 10, 32); err == nil {
		return int(gid), true
	}
	return a.serviceGroup(name)
}

// groupsOf returns the groups that a user is in, gid first: initgroups(3).
func (a *accounts) groupsOf(user account, gid int) []int {
	groups := []int{gid}
	for _, f := range a.group.read(4) {
		for member := range strings.SplitSeq(f[3], ",") {
			if member != user.name {
				continue
			}
			if id, err := strconv.ParseUint(f[2], 10, 32); err == nil && int(id) != gid {
				groups = append(groups, int(id))
			}
		}
	}
	return append(groups, a.serviceGroups(user, groups)...)
}
