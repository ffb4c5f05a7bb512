package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// sharePort lets every process of the caller's cgroup bind a port that another
// instance of the app has: it attaches a program to the cgroup that sets
// SO_REUSEPORT on each socket just before bind(2), which no program has to
// know of. The program lives as long as the cgroup, which systemd makes anew
// at each start of the service.
func sharePort() error {
	cgroup, err := ownCgroup()
	if err != nil {
		return err
	}
	dir, err := os.Open(cgroup)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, attach := range []ebpf.AttachType{ebpf.AttachCGroupInet4Bind, ebpf.AttachCGroupInet6Bind} {
		if err := attachReusePort(int(dir.Fd()), attach); err != nil {
			return err
		}
	}
	return nil
}

// attachReusePort loads the nine instructions and attaches them beside what
// else the cgroup has.
func attachReusePort(cgroup int, attach ebpf.AttachType) error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:       "gm_share_port",
		Type:       ebpf.CGroupSockAddr,
		AttachType: attach,
		License:    "GPL",
		Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -4, 1, asm.Word), // int one = 1, on the stack
			asm.Mov.Imm(asm.R2, unix.SOL_SOCKET),   // R1 is the context already
			asm.Mov.Imm(asm.R3, unix.SO_REUSEPORT),
			asm.Mov.Reg(asm.R4, asm.RFP),
			asm.Add.Imm(asm.R4, -4),
			asm.Mov.Imm(asm.R5, 4),
			asm.FnSetsockopt.Call(),
			asm.Mov.Imm(asm.R0, 1), // let bind(2) go on, whatever setsockopt said
			asm.Return(),
		},
	})
	if err != nil {
		return fmt.Errorf("cannot load the program (kernel 5.14 or so, and root, are needed): %w", err)
	}
	defer program.Close()
	err = link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: cgroup, Program: program, Attach: attach, Flags: unix.BPF_F_ALLOW_MULTI,
	})
	if err != nil {
		return fmt.Errorf("cannot attach the program to the service's cgroup: %w", err)
	}
	return nil
}

// ownCgroup returns the directory of the caller's cgroup in the unified
// hierarchy (cgroups(7)).
func ownCgroup() (string, error) {
	group, err := field("/proc/self/cgroup", func(line string) (string, bool) { return strings.CutPrefix(line, "0::") })
	if err != nil {
		return "", err
	}
	mount, err := field("/proc/self/mountinfo", func(line string) (string, bool) {
		before, after, ok := strings.Cut(line, " - ")
		columns := strings.Fields(before)
		return columns[min(4, len(columns)-1)], ok && strings.HasPrefix(after, "cgroup2 ")
	})
	if err != nil {
		return "", err
	}
	// Anywhere else the program would reach beyond one service, and outlive it.
	if !strings.Contains(group+"/", ".service/") {
		return "", fmt.Errorf("the calling cgroup, %s, is no service's", group)
	}
	return filepath.Join(mount, group), nil
}

// field returns what pick finds in the first line of a file that has it.
func field(file string, pick func(line string) (string, bool)) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if found, ok := pick(lines.Text()); ok {
			return found, nil
		}
	}
	return "", errors.Join(lines.Err(), errors.New("no unified cgroup hierarchy: "+file+" does not show one"))
}
