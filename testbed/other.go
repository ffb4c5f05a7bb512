//go:build !linux

package testbed

import "context"

var errNotLinux = unavailablef("systemd needs Linux")

type instance struct{ dir string }

func boot(Options, func(string, ...any)) (*machine, error) { return nil, errNotLinux }

func (*machine) run(context.Context, string, []string) (string, string, error) {
	return "", "", errNotLinux
}

func (*machine) shutdown() error { return errNotLinux }

func (*machine) reboot(func(string, ...any)) error { return errNotLinux }

func (*machine) installNode(func(string, ...any)) error { return errNotLinux }

func emulate(context.Context, string, string, map[string]string, func(string, ...any)) (string, int, error) {
	return "", 0, errNotLinux
}
