package main

import (
	"net"
	"net/netip"
	"os"
	"testing"
)

// TestReadPorts finds a listener of its own.
func TestReadPorts(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Logf("not here: %v", err)
			continue
		}
		defer l.Close()
		want := netip.MustParseAddrPort(l.Addr().String())
		table, err := readPorts()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, have := range table.listeners {
			if have.at != want {
				continue
			}
			found = true
			if who, ok := table.owner(have.inode); !ok || who.pid != os.Getpid() {
				t.Errorf("%s is held by %+v, %v", want, who, ok)
			}
		}
		if !found {
			t.Errorf("%s is not in %v", want, table.listeners)
		}
	}
}

func TestProcAddress(t *testing.T) {
	if _, ok := procAddress("0100007F"); ok {
		t.Error("an address without a port")
	}
	if _, ok := procAddress("xx:1F90"); ok {
		t.Error("no number")
	}
}

func TestStatFile(t *testing.T) {
	file := t.TempDir() + "/x"
	if err := os.WriteFile(file, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	got := statFile(file)
	if got.err != nil || got.mode.Perm() != 0o640 || got.uid != os.Geteuid() || got.acl {
		t.Errorf("got %+v", got)
	}
	if !missing(statFile(file+"/below").err) || !missing(statFile(file+"x").err) {
		t.Error("what is not there is there")
	}
}
