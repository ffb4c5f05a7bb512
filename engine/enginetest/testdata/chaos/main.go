// Command chaos is the app of the chaos run. It writes numbered lines and notes in a
// ledger, NAME.INSTANCE.ledger in its directory, when it starts and ends, and that
// another one of its kind runs, if so.
//
//	chaos NAME EVERY [child | session]
//
// EVERY is the pause between lines. With child it has a child, with session one in a
// session of its own, which is to end when the app does, however it ends.
//
// A line is "@RUN NUMBER line", the last one of a run that was told to end "@RUN NUMBER
// end". While the disk is full the app writes the rest of the line again and again, so
// that no line lacks.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if args[0] == "helper" {
		for {
			time.Sleep(time.Hour)
		}
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	every, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	name := args[0] + "." + os.Getenv("NODE_APP_INSTANCE")
	ledger, err := os.OpenFile(name+".ledger", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())
	lock, err := os.OpenFile(name+".lock", os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		fmt.Fprintf(ledger, "double %s\n", id)
	}
	fmt.Fprintf(ledger, "start %s\n", id)
	if len(args) > 2 {
		helper := exec.Command("/proc/self/exe", "helper", args[0], strconv.Itoa(os.Getpid()))
		helper.SysProcAttr = &syscall.SysProcAttr{Setsid: args[2] == "session"}
		if err := helper.Start(); err != nil {
			return err
		}
		go helper.Wait()
	}
	tick := time.NewTicker(every)
	for n := 1; ; n++ {
		select {
		case <-end:
			write(fmt.Sprintf("@%s %d end\n", id, n))
			fmt.Fprintf(ledger, "end %s %d\n", id, n)
			return nil
		case <-tick.C:
			write(fmt.Sprintf("@%s %d line\n", id, n))
		}
	}
}

func write(line string) {
	for line != "" {
		n, err := os.Stdout.WriteString(line)
		line = line[n:]
		if err != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}
