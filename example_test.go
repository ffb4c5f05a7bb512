package gm_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

	"gm"
	"gm/engine"
)

// A program that starts the apps of the declaration in its directory, looks at them, and
// takes them away again.
func Example() {
	ctx := context.Background()
	conn, err := gm.Connect(ctx, gm.Options{Environ: os.Environ()})
	if err != nil {
		log.Panic(err)
	}
	defer conn.Close()

	if _, err := conn.Start(ctx, gm.Declaration{}); err != nil {
		log.Panic(err)
	}
	processes, err := conn.List(ctx)
	if err != nil {
		log.Panic(err)
	}
	for _, p := range processes {
		fmt.Println(p.Name, p.Status, p.State.MainPID > 0)
	}
	if err := conn.Uninstall(ctx, "shop"); err != nil {
		log.Panic(err)
	}
	// Output:
	// web@0 online true
	// web@1 online true
	// worker online true
}

// connect is Connect, for examples of other things.
func connect() (*gm.Conn, context.Context, func()) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	conn, err := gm.Connect(ctx, gm.Options{Environ: os.Environ()})
	if err != nil {
		log.Panic(err)
	}
	return conn, ctx, func() { conn.Close(); cancel() }
}

// Start is given a declaration in memory, and says what it did: the second time nothing.
func ExampleConn_Start() {
	conn, ctx, done := connect()
	defer done()
	d := gm.Declaration{
		Name: "apps.json", Text: []byte(`[{"name": "clock", "script": "/bin/sleep", "args": "infinity", "min_uptime": 100}]`),
		Project: "clocks",
	}
	for range 2 {
		did, err := conn.Start(ctx, d)
		if err != nil {
			log.Panic(err)
		}
		counts := did[0].Plan.Counts()
		fmt.Println("created", counts[engine.Create], "kept", counts[engine.Keep])
	}
	fmt.Println(conn.Delete(ctx, "clock"))
	// Output:
	// created 1 kept 0
	// created 0 kept 1
	// <nil>
}

// A declaration that cannot be is refused as a whole, with all that is wrong with it.
func ExampleConn_Start_invalid() {
	conn, ctx, done := connect()
	defer done()
	_, err := conn.Start(ctx, gm.Declaration{
		Name: "apps.json", Text: []byte(`[{"name": "a", "script": "/bin/true", "max_memory_restart": "lots"}, {"name": "b"}]`),
	})
	var invalid *gm.InvalidDeclaration
	if errors.As(err, &invalid) {
		for _, d := range invalid.List {
			fmt.Println(d.At, d.Severity, d.Code)
		}
	}
	// Output:
	// apps.json:1:61 error bad-value
	// apps.json:1:70 error no-script
}

// When an app does not come up, everything is put back as it was.
func ExampleConn_Start_failed() {
	conn, ctx, done := connect()
	defer done()
	_, err := conn.Start(ctx, gm.Declaration{
		Name: "apps.json", Text: []byte(`[{"name": "bad", "script": "/bin/sh", "args": ["-c", "echo no database; exit 3"], "autorestart": false}]`),
		Project: "broken",
	})
	var failed *gm.ApplyError
	if errors.As(err, &failed) {
		for _, f := range failed.Failures {
			fmt.Println(f.App, f.State.Exit.Code)
		}
		fmt.Println(failed.RolledBack)
	}
	apps, err := conn.List(ctx)
	fmt.Println(len(apps), err)
	// Output:
	// bad 3
	// true
	// 0 <nil>
}

// Watch tells what becomes of apps.
func ExampleConn_Watch() {
	conn, ctx, done := connect()
	defer done()
	events, err := conn.Watch(ctx)
	if err != nil {
		log.Panic(err)
	}
	// Whoever starts apps need not be who watches them.
	if _, err := conn.Start(ctx, gm.Declaration{Only: []string{"worker"}}); err != nil {
		log.Panic(err)
	}
	for e := range events {
		fmt.Println(e)
		if e.Kind == gm.Ready && e.Restarts == 0 {
			break
		}
	}
	if err := conn.Signal(ctx, syscall.SIGKILL, "worker"); err != nil {
		log.Panic(err)
	}
	for e := range events {
		fmt.Println(e)
		if e.Kind == gm.Ready {
			break
		}
	}
	if err := conn.Uninstall(ctx, "shop"); err != nil {
		log.Panic(err)
	}
	for e := range events {
		fmt.Println(e)
		if e.Kind == gm.Stopped {
			break
		}
	}
	// Output:
	// worker: started
	// worker: ready
	// worker: killed by SIGKILL
	// worker: restarting (1)
	// worker: started
	// worker: ready
	// worker: killed by SIGINT
	// worker: stopped
}

// The verbs choose apps as PM2 and gm do.
func ExampleConn_Stop() {
	conn, ctx, done := connect()
	defer done()
	if _, err := conn.Start(ctx, gm.Declaration{}); err != nil {
		log.Panic(err)
	}
	defer conn.Uninstall(ctx, "shop")
	fmt.Println(conn.Stop(ctx, "web@1", "/^work/"))
	fmt.Println(conn.Reload(ctx, "web"))
	fmt.Println(conn.Scale(ctx, "web", 3))
	fmt.Println(conn.Restart(ctx, "web@0"))
	processes, err := conn.List(ctx, "all")
	if err != nil {
		log.Panic(err)
	}
	for _, p := range processes {
		fmt.Println(p.Name, p.Status)
	}
	var none *gm.NoSuchApp
	if err := conn.StartApps(ctx, "wrker"); errors.As(err, &none) {
		fmt.Println(none, "but there is", none.Near)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// <nil>
	// web@0 online
	// web@1 stopped
	// web@2 online
	// worker stopped
	// there is no app wrker but there is [worker]
}

func ExampleConn_Describe() {
	conn, ctx, done := connect()
	defer done()
	if _, err := conn.Start(ctx, gm.Declaration{}); err != nil {
		log.Panic(err)
	}
	defer conn.Uninstall(ctx, "shop")
	apps, err := conn.Describe(ctx, "web")
	if err != nil {
		log.Panic(err)
	}
	for _, a := range apps {
		fmt.Println(a.Name, "of", a.Project, "has", len(a.Processes), "processes")
		for _, f := range a.Files {
			fmt.Println(f.Name)
		}
	}
	// Output:
	// web of shop has 2 processes
	// web.target
	// web@.service
}
