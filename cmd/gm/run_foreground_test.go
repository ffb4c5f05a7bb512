package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A reader that does not read, such as a terminal after Ctrl-S, keeps no app from being stopped.
func TestRunEndsWhereNobodyReads(t *testing.T) {
	gm, err := exec.LookPath("gm") // testscript.Main put it on the PATH
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	file := filepath.Join(dir, "app.json")
	app := `[{"name": "app", "script": "/bin/sh", "args": ["-c", "echo on; sleep 0.1; touch ` + ready + `; sleep 60"]}]`
	if err := os.WriteFile(file, []byte(app), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for {
		_ = writer.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := writer.Write(make([]byte, 1)); err != nil {
			break // it is full
		}
	}
	cmd := exec.Command(gm, "run", file)
	cmd.Env = append(os.Environ(), "GM_HOME="+filepath.Join(dir, "gm"), "GORACE="+noExitPause)
	cmd.Stdout = writer
	cmd.Stderr = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
	for !exists(ready) {
		select {
		case err := <-ended:
			t.Fatalf("it has ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	_ = writer.Close()
}
