//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// long is how many seconds an app sleeps, beside its number.
	long = 100_000_000
	// limit is for one thing that is waited for.
	limit = 2 * time.Minute
	// young is how long a process must have run for every supervisor to start it again
	// without a pause: runit and s6 wait for a second otherwise.
	young = 1500 * time.Millisecond
	// settle is how long a supervisor is left alone before its memory is looked at.
	settle = 4 * time.Second
	// span is how long the use of CPU is measured.
	span = 3 * time.Second

	crashes  = 25
	writers  = 10
	lineRate = 2000 // of each writer, a second
)

// round is one supervisor with its apps.
type round struct {
	contestant
	apps    int
	dir     string
	program string // the app
	starts  <-chan start
	from    time.Time // of what awaitStarts takes the time of
	found   measured
}

// runRound measures a supervisor and prints what it found as JSON.
func runRound(dir, name string, n int) error {
	i := slices.IndexFunc(contestants, func(c contestant) bool { return c.name == name })
	if i < 0 {
		return fmt.Errorf("there is no %q", name)
	}
	r := &round{contestant: contestants[i], apps: n, dir: filepath.Join(dir, "sleep"), found: measured{}}
	for _, step := range []func() error{
		r.begin,
		func() error { return r.awaitStarts(cold, n) },
		r.rest,
		r.crash,
		r.killMany,
		r.stopMany,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if name != "bare" {
		// On top of the other apps, which sleep.
		r.dir = filepath.Join(dir, "log")
		if err := r.logs(); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r.found)
}

// sleepers are apps that do nothing.
func sleepers(program string, n int) []app {
	all := make([]app, n)
	for i := range all {
		all[i] = app{name: fmt.Sprintf("g%d-%03d", i/group, i), argv: []string{program, fmt.Sprint(long + i)}}
	}
	return all
}

// begin starts the supervisor, and the time of the cold start.
func (r *round) begin() error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	r.program = filepath.Join(r.dir, "app")
	binary, err := os.ReadFile("/bin/sleep")
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.program, binary, 0o755); err != nil {
		return err
	}
	if err := r.prepare(r.dir, sleepers(r.program, r.apps)); err != nil {
		return err
	}
	if r.starts, err = watchStarts(r.program); err != nil {
		return err
	}
	return r.launch()
}

func (r *round) launch() error {
	cmd := r.start(r.dir)
	log, err := os.Create(filepath.Join(r.dir, "bench.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	r.from = time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	return nil
}

// awaitStarts waits for n apps to be started, and notes how long that took.
func (r *round) awaitStarts(w what, n int) error {
	var last time.Time
	for i := range n {
		select {
		case s := <-r.starts:
			last = s.at
		case <-time.After(limit):
			text, _ := os.ReadFile(filepath.Join(r.dir, "bench.log"))
			return fmt.Errorf("%s: after %v only %d of %d apps were started\n%s", w, limit, i, n, text)
		}
	}
	r.found[w] = float64(last.Sub(r.from))
	return nil
}

// rest measures what the supervisor costs while nothing happens, and lists.
func (r *round) rest() error {
	time.Sleep(settle) // whatever it still does after the start
	all := others(r.program)
	var pss int64
	count := 0
	for _, p := range all {
		pss += p.pss()
		count += p.threads()
	}
	r.found[memory], r.found[threads] = float64(pss), float64(count)
	r.found[idle] = use(all)
	if r.list == nil {
		return nil
	}
	var times []float64
	for range 5 {
		begin := time.Now()
		out, err := r.list(r.dir).Output()
		times = append(times, float64(time.Since(begin)))
		if lines := bytes.Count(out, []byte("\n")); lines < r.apps && len(out) < 100*r.apps {
			return fmt.Errorf("the list of %d apps has %d lines: %v\n%.1000s", r.apps, lines, err, out)
		}
	}
	slices.Sort(times)
	r.found[listed] = median(times)
	return nil
}

// use is the share of one CPU that processes use, in percent.
func use(all []process) float64 {
	before, begin := cpu(all), time.Now()
	time.Sleep(span)
	return 100 * float64(cpu(all)-before) / float64(time.Since(begin))
}

// crash kills one app after another and takes the time to the start of its successor.
func (r *round) crash() error {
	running := apps(r.program)
	var times []float64
	for _, i := range rand.Perm(group)[:crashes] {
		begin := time.Now()
		if err := syscall.Kill(running[i], syscall.SIGKILL); err != nil {
			return fmt.Errorf("app %d, process %d: %w", i, running[i], err)
		}
		select {
		case s := <-r.starts:
			times = append(times, float64(s.at.Sub(begin)))
		case <-time.After(limit):
			return fmt.Errorf("after %v app %d was not started again", limit, i)
		}
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(times)
	r.found[crash], r.found[crash95] = median(times), times[len(times)*95/100]
	return nil
}

// killMany kills the second group at once.
func (r *round) killMany() error {
	running := apps(r.program)
	r.from = time.Now()
	for i := group; i < 2*group; i++ {
		if err := syscall.Kill(running[i], syscall.SIGKILL); err != nil {
			return fmt.Errorf("app %d, process %d: %w", i, running[i], err)
		}
	}
	return r.awaitStarts(killed, group)
}

// stopMany stops the third group.
func (r *round) stopMany() error {
	if r.stop == nil {
		return nil
	}
	time.Sleep(young)
	running := apps(r.program)
	var pids []int
	for i := 2 * group; i < 3*group; i++ {
		pids = append(pids, running[i])
	}
	cmd := r.stop(r.dir, "g2")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var begin time.Time
	end, err := awaitEnd(pids, limit, func() error {
		begin = time.Now()
		return cmd.Start()
	})
	if err != nil {
		return err
	}
	r.found[stopped] = float64(end.Sub(begin))
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%v: %w: %s", cmd.Args, err, out.String())
	}
	return nil
}

// writerWord is what this program is called when it is an app that writes lines.
const writerWord = "writer"

func writeLines(args []string) {
	rate, err := strconv.Atoi(args[0])
	if err != nil {
		os.Exit(1)
	}
	line := []byte(strings.Repeat("x", 79) + "\n")
	for range time.Tick(time.Second / time.Duration(rate)) {
		if _, err := os.Stdout.Write(line); err != nil {
			os.Exit(1)
		}
	}
}

// logs measures what the supervisor's own processes use while apps write lines.
func (r *round) logs() error {
	before := others(r.program)
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	r.program = filepath.Join(r.dir, writerWord)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.program, self, 0o755); err != nil {
		return err
	}
	all := make([]app, writers)
	for i := range all {
		all[i] = app{name: fmt.Sprintf("w0-%03d", i), argv: []string{r.program, fmt.Sprint(lineRate)}, logs: true}
	}
	if err := r.prepare(r.dir, all); err != nil {
		return err
	}
	if err := r.launch(); err != nil {
		return err
	}
	time.Sleep(young)
	r.found[logging] = use(slices.DeleteFunc(others(r.program), func(p process) bool { return slices.Contains(before, p) }))
	return nil
}
