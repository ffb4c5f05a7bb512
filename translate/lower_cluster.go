package translate

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"gm/units"
)

// lowerInstances: exec_mode, instances. The number of instances is in the
// target; here is what lets them share one port as PM2's workers do.
func lowerInstances(l *lowering, mode *arg) {
	a := l.app
	if !a.cluster {
		return
	}
	at := mode.at
	if !mode.given() {
		at = a.get("instances").at
	}
	l.service.add("X-Gm", "Mode", units.Word("cluster"), at)
	if len(l.listens()) > 0 {
		return
	}
	if l.host.Scope == ScopeUser {
		if a.count == 1 {
			return
		}
		if a.program.runtime != runtimeNode {
			l.add(noPortSharing, at, `install into the system scope, or declare the port: "systemd": {"listen": [3000]}`,
				"%d instances of %s cannot share a port in a user's own systemd", a.count, clip(a.name))
			return
		}
		// Node's own way; the preload asks for it.
		if v := l.host.version(a.program.argv[0].text); v != "" && !nodeSharesPorts(v) {
			l.add(noPortSharing, at, `use node 22.12 or later, declare the port: "systemd": {"listen": [3000]}, install into the system scope, `+
				`or write "exec_mode": "fork" if they do not listen on one port`,
				"%d instances of %s cannot share a port in a user's own systemd: node %s has no reusePort", a.count, clip(a.name), v)
			return
		}
		l.preload("reuseport", &arg{value: mode.value, at: at, name: "exec_mode"})
		return
	}
	// "+": attaching the program to the service's own cgroup needs root,
	// whatever User= is.
	if c, ok := l.command("+", at, "exec_mode", l.gm("share-port", "%i")...); ok {
		l.service.add("Service", "ExecStartPre", c, at)
	}
}

// nodeSharesPorts reports whether net.Server's listen() has reusePort.
func nodeSharesPorts(v string) bool {
	major, minor := majorMinor(v)
	return major == 22 && minor >= 12 || major == 23 && minor >= 1 || major >= 24
}

// listens returns the elements of "systemd": {"listen": …}.
func (l *lowering) listens() []*value {
	return listOf(l.app.get("systemd").value.member("listen"))
}

// lowerListen: a socket unit that all instances share, so that connections
// queue in systemd while one restarts.
func (l *lowering) lowerListen() {
	items := l.listens()
	if len(items) == 0 {
		return
	}
	at := l.app.get("systemd").value.member("listen").at
	socket := l.companion(".socket", "Sockets of", at)
	socket.add("Unit", "PartOf", units.Words{l.p.target()}, at)
	socket.add("Socket", "Service", units.Word(l.app.instance(0)), at)
	socket.add("Socket", "TriggerLimitIntervalSec", units.Span(0), at)
	var addresses []string
	var streams, datagrams []string // as the socket unit has them
	for _, item := range items {
		key, address, err := listenAddress(item.String())
		if err != nil || item.kind != kindString && item.kind != kindNumber {
			l.add(badListen, item.at, `write 3000, "127.0.0.1:3000", "[::1]:3000", "/run/app.sock" or "udp:5353"`,
				"systemd.listen: %s is no address", item.describe())
			continue
		}
		if slices.Contains(addresses, key+address) {
			l.add(badListen, item.at, "remove one of them", "systemd.listen: %s is there twice", item.describe())
			continue
		}
		socket.add("Socket", key, units.Text(address), item.at)
		addresses = append(addresses, key+address)
		if key == "ListenDatagram" {
			datagrams = append(datagrams, "udp:"+listenName.Replace(address))
		} else {
			streams = append(streams, listenName.Replace(address))
		}
	}
	l.service.add("Unit", "Requires", units.Words{socket.name}, at)
	l.service.add("Unit", "After", units.Words{socket.name}, at)
	l.service.add("Service", "Sockets", units.Words{socket.name}, at)
	// An instance that reaches its start limit would take the socket down for
	// all of them: no limit here.
	l.service.set("Unit", "StartLimitIntervalSec", units.Span(0), at)
	l.service.drop("Unit", "StartLimitBurst")
	if a := l.app.get("max_restarts"); a.given() {
		l.add(limitLifted, a.at, "", "%s has no effect beside systemd.listen: a unit given up would close the socket for all instances", a.name)
	}
	if kind := l.app.program.runtime; kind == runtimeNode || kind == runtimeShell {
		l.preload("listen", &arg{at: at, name: "systemd.listen"})
		names := strings.Join(append(streams, datagrams...), " ")
		l.setenv(variable{name: "GM_LISTEN", value: units.Spec(names), from: at})
	}
}

// listenName writes an address as the preload reads it, between spaces; a "%" is doubled
// already.
var listenName = strings.NewReplacer("%%", "%%25", " ", "%%20")

// drop removes the directives of that key.
func (b *builder) drop(section, key string) {
	kept := b.list[:0]
	for _, d := range b.list {
		if d.Section != section || d.Key != key {
			kept = append(kept, d)
		}
	}
	b.list = kept
}

// listenAddress reads one element of systemd.listen into the directive and the
// address that systemd.socket(5) wants.
func listenAddress(text string) (key, address string, err error) {
	key = "ListenStream"
	if rest, ok := strings.CutPrefix(text, "udp:"); ok {
		key, text = "ListenDatagram", rest
	} else {
		text = strings.TrimPrefix(text, "tcp:")
	}
	port := func(s string) bool {
		n, err := strconv.Atoi(s)
		return err == nil && n > 0 && n < 65536 && strings.Trim(s, "0123456789") == ""
	}
	if port(text) {
		return key, text, nil
	}
	if path.IsAbs(text) {
		if _, err := units.NewPath(units.Escape(text)); err != nil {
			return "", "", err
		}
		return key, string(units.Escape(text)), nil
	}
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 || !port(text[colon+1:]) {
		return "", "", fmt.Errorf("no port in %q", text)
	}
	host := text[:colon]
	switch host {
	case "", "*":
		return key, text[colon+1:], nil
	case "localhost":
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return "", "", err
	}
	if ip.Is6() {
		return key, "[" + ip.String() + "]" + text[colon:], nil
	}
	return key, ip.String() + text[colon:], nil
}
